// The Key Vault with the app's secrets; app settings contain references to them, not the secrets.
param location string
param tags object
param token string

@secure()
param eventsCode string

@secure()
param anthropicApiKey string

var hasAnthropicKey = !empty(anthropicApiKey)

resource vault 'Microsoft.KeyVault/vaults@2026-02-01' = {
  name: 'kv-${token}'
  location: location
  tags: tags
  properties: {
    enableRbacAuthorization: true
    sku: { family: 'A', name: 'standard' }
    softDeleteRetentionInDays: 7
    tenantId: tenant().tenantId
  }
}

resource events 'Microsoft.KeyVault/vaults/secrets@2026-02-01' = {
  parent: vault
  name: 'events-code'
  properties: { value: eventsCode }
}

resource anthropic 'Microsoft.KeyVault/vaults/secrets@2026-02-01' = if (hasAnthropicKey) {
  parent: vault
  name: 'anthropic-api-key'
  properties: { value: anthropicApiKey }
}

output name string = vault.name
// The references include the version, so a new secret changes the setting and the app uses it at once. References
// without a version are refreshed only once a day.
output eventsCodeReference string = '@Microsoft.KeyVault(SecretUri=${events.properties.secretUriWithVersion})'
output anthropicApiKeyReference string = hasAnthropicKey
  ? '@Microsoft.KeyVault(SecretUri=${anthropic!.properties.secretUriWithVersion})'
  : ''
