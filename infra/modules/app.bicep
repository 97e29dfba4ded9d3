// The function app on Flex Consumption.
param location string
param tags object
param token string
param identityId string
param packages string
param origins string[]
param maximumInstanceCount int
param alwaysReadyInstances int

@secure()
param appSettings object

resource plan 'Microsoft.Web/serverfarms@2025-05-01' = {
  name: 'plan-${token}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: { name: 'FC1', tier: 'FlexConsumption' }
  properties: {
    reserved: true
  }
}

resource site 'Microsoft.Web/sites@2025-05-01' = {
  name: 'func-${token}'
  location: location
  tags: union(tags, { 'azd-service-name': 'api' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    keyVaultReferenceIdentity: identityId
    functionAppConfig: {
      runtime: { name: 'python', version: '3.13' }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: packages
          authentication: { type: 'UserAssignedIdentity', userAssignedIdentityResourceId: identityId }
        }
      }
      scaleAndConcurrency: {
        instanceMemoryMB: 2048
        maximumInstanceCount: maximumInstanceCount
        alwaysReady: map(alwaysReadyInstances > 0 ? ['http', 'durable'] : [], name => {
          name: name
          instanceCount: alwaysReadyInstances
        })
        // The platform's default for Python is 1; the handlers of this app are asynchronous and run side by side.
        triggers: { http: { perInstanceConcurrency: 32 } }
      }
    }
    siteConfig: {
      cors: { allowedOrigins: origins }
      minTlsVersion: '1.2'
    }
  }

  resource settings 'config' = {
    name: 'appsettings'
    properties: appSettings
  }

  // Deployments must sign in with an identity; user name and password are switched off.
  resource ftp 'basicPublishingCredentialsPolicies' = {
    name: 'ftp'
    properties: { allow: false }
  }

  resource scm 'basicPublishingCredentialsPolicies' = {
    name: 'scm'
    properties: { allow: false }
  }
}

output id string = site.id
output url string = 'https://${site.properties.defaultHostName}'
