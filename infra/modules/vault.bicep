// The vault of the app's secrets; app settings only refer to them.
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
// With its version: a new secret is a changed setting, which the app reads at once and not within a day.
output eventsCodeReference string = '@Microsoft.KeyVault(SecretUri=${events.properties.secretUriWithVersion})'
output anthropicApiKeyReference string = hasAnthropicKey
  ? '@Microsoft.KeyVault(SecretUri=${anthropic!.properties.secretUriWithVersion})'
  : ''
