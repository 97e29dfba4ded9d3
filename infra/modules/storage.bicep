// The storage account for the host's state, the app's records and files, and the app's package. Access keys are disabled.
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

    // The app creates its own blob containers when it needs them; this one must exist before the app is deployed.
    resource packages 'containers' = {
      name: 'packages'
    }
  }

  // The app deletes the input files of a job when it ends, and a large value of deferred work when that is done; these
  // rules delete those of jobs that were never ended, and of work whose message could not be sent or was given up.
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
          {
            name: 'forgotten-deferred-values'
            type: 'Lifecycle'
            definition: {
              filters: { blobTypes: ['blockBlob'], prefixMatch: ['deferred/'] }
              actions: { baseBlob: { delete: { daysAfterModificationGreaterThan: 30 } } }
            }
          }
        ]
      }
    }
  }
}

output name string = account.name
output packages string = '${account.properties.primaryEndpoints.blob}${account::blobs::packages.name}'
