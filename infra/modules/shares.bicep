// The storage account for the file shares of development environments. Its access keys are enabled, because Container
// Instances mount shares by key; only this account has them.
param location string
param tags object
param token string

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' = {
  name: 'stf${token}'
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: 'Standard_LRS' }
  properties: {
    allowBlobPublicAccess: false
    allowSharedKeyAccess: true
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
  }

  // A deleted environment leaves nothing behind, also no share that could be restored.
  resource files 'fileServices' = {
    name: 'default'
    properties: { shareDeleteRetentionPolicy: { enabled: false } }
  }
}

output name string = account.name
