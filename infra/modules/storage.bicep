// The storage account: the host's state, the app's records and files, the app's package. No key opens it.
param location string
param tags object
param token string

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' = {
  name: 'st${token}'
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: 'Standard_LRS' }
  properties: {
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
  }

  resource blobs 'blobServices' = {
    name: 'default'

    // The app makes its own containers when it needs them; this one must be there before it.
    resource packages 'containers' = {
      name: 'packages'
    }
  }

  // What a job was given is deleted when it ends; this finds what a job left that never ended.
  resource lifecycle 'managementPolicies' = {
    name: 'default'
    properties: {
      policy: {
        rules: [
          {
            name: 'forgotten-inputs'
            type: 'Lifecycle'
            definition: {
              filters: { blobTypes: ['blockBlob'], prefixMatch: ['inputs/'] }
              actions: { baseBlob: { delete: { daysAfterModificationGreaterThan: 3 } } }
            }
          }
        ]
      }
    }
  }
}

output name string = account.name
output packages string = '${account.properties.primaryEndpoints.blob}${account::blobs::packages.name}'
