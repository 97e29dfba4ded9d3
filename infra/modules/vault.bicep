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

output id string = vault.id
output name string = vault.name
// With its version: a new secret is a changed setting, which the app reads at once and not within a day.
output eventsCodeReference string = '@Microsoft.KeyVault(SecretUri=${events.properties.secretUriWithVersion})'
output anthropicApiKeyReference string = hasAnthropicKey
  ? '@Microsoft.KeyVault(SecretUri=${anthropic!.properties.secretUriWithVersion})'
  : ''
// The hook of azure.yaml makes this secret once: a deployment that wrote it would renew it each time, and what the old
// key sealed would be lost. Without its version: a new list of keys is read within a day.
output sealingKeysReference string = '@Microsoft.KeyVault(SecretUri=${vault.properties.vaultUri}secrets/sealing-keys)'
