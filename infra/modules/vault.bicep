// The Key Vault with the app's secrets; app settings contain references to them, not the secrets.
param location string
param tags object
param token string

@secure()
param eventsCode string

@secure()
param adminKey string

@secure()
param anthropicApiKey string

@secure()
param dev8RegistryPassword string

@secure()
param dev8TlsCertificateBase64 string

@secure()
param ownpilotJwtSecret string

var hasAdminKey = !empty(adminKey)
var hasAnthropicKey = !empty(anthropicApiKey)
var hasRegistryPassword = !empty(dev8RegistryPassword)
var hasTlsCertificate = !empty(dev8TlsCertificateBase64)
var hasJwtSecret = !empty(ownpilotJwtSecret)

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

resource admin 'Microsoft.KeyVault/vaults/secrets@2026-02-01' = if (hasAdminKey) {
  parent: vault
  name: 'admin-key'
  properties: { value: adminKey }
}

resource anthropic 'Microsoft.KeyVault/vaults/secrets@2026-02-01' = if (hasAnthropicKey) {
  parent: vault
  name: 'anthropic-api-key'
  properties: { value: anthropicApiKey }
}

resource registryPassword 'Microsoft.KeyVault/vaults/secrets@2026-02-01' = if (hasRegistryPassword) {
  parent: vault
  name: 'dev8-registry-password'
  properties: { value: dev8RegistryPassword }
}

resource tlsCertificate 'Microsoft.KeyVault/vaults/secrets@2026-02-01' = if (hasTlsCertificate) {
  parent: vault
  name: 'dev8-tls-certificate'
  properties: { value: base64ToString(dev8TlsCertificateBase64) }
}

resource jwt 'Microsoft.KeyVault/vaults/secrets@2026-02-01' = if (hasJwtSecret) {
  parent: vault
  name: 'ownpilot-jwt-secret'
  properties: { value: ownpilotJwtSecret }
}

output id string = vault.id
output name string = vault.name
// The references include the version, so a new secret changes the setting and the app uses it at once. References
// without a version are refreshed only once a day.
output eventsCodeReference string = '@Microsoft.KeyVault(SecretUri=${events.properties.secretUriWithVersion})'
output adminKeyReference string = hasAdminKey
  ? '@Microsoft.KeyVault(SecretUri=${admin!.properties.secretUriWithVersion})'
  : ''
output anthropicApiKeyReference string = hasAnthropicKey
  ? '@Microsoft.KeyVault(SecretUri=${anthropic!.properties.secretUriWithVersion})'
  : ''
output dev8RegistryLoginReference string = hasRegistryPassword
  ? '@Microsoft.KeyVault(SecretUri=${registryPassword!.properties.secretUriWithVersion})'
  : ''
output dev8TlsCertificateReference string = hasTlsCertificate
  ? '@Microsoft.KeyVault(SecretUri=${tlsCertificate!.properties.secretUriWithVersion})'
  : ''
output ownpilotJwtSecretReference string = hasJwtSecret
  ? '@Microsoft.KeyVault(SecretUri=${jwt!.properties.secretUriWithVersion})'
  : ''
// The hook of azure.yaml makes these secrets once: a deployment that wrote them would renew them each time, and what the
// old keys sealed or signed would be lost. Without their version: a new list of keys is read within a day.
output sealingKeysReference string = '@Microsoft.KeyVault(SecretUri=${vault.properties.vaultUri}secrets/sealing-keys)'
output anymindSecretKeysReference string = '@Microsoft.KeyVault(SecretUri=${vault.properties.vaultUri}secrets/anymind-secret-keys)'
