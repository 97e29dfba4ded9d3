// Everything that Runyard is in Azure: one resource group, in which identities open all doors and keys none.
targetScope = 'subscription'

@minLength(1)
@maxLength(64)
@description('Name of the azd environment; names of resources derive from it.')
param environmentName string

@minLength(1)
@description('Region of everything; it needs Flex Consumption, Container Instances and Web PubSub.')
@metadata({ azd: { type: 'location' } })
param location string

@description('Object id of the developer who gets the data roles of the app; empty: nobody does.')
param principalId string = ''

@description('The APIs to serve, separated by commas. Each has a Web PubSub hub of its name.')
param apis string = 'gateway,stepflow'

@description('Origins that browsers may call from, separated by commas; empty: none.')
param corsOrigins string = '*'

@secure()
@description('Key with which Claude models run; empty: they do not.')
param anthropicApiKey string = ''

@secure()
@description('Secret in the address to which Web PubSub sends events. The default is a new one in each deployment.')
param eventsCode string = newGuid()

@allowed(['Free_F1', 'Standard_S1', 'Premium_P1'])
@description('Free_F1 holds 20 sockets and 20,000 messages a day.')
param webPubSubSku string = 'Free_F1'

@minValue(1)
@maxValue(1000)
@description('How far the app scales out.')
param maximumInstanceCount int = 40

@description('Further app settings by name; they replace those that the deployment sets.')
param extraSettings object = {}

var tags = { 'azd-env-name': environmentName }
var token = uniqueString(subscription().id, environmentName, location)
var hubs = map(split(apis, ','), api => trim(api))
var origins = empty(corsOrigins) ? [] : map(split(corsOrigins, ','), origin => trim(origin))

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module identities 'modules/identities.bicep' = {
  name: 'identities'
  scope: group
  params: { location: location, tags: tags, token: token }
}

module storage 'modules/storage.bicep' = {
  name: 'storage'
  scope: group
  params: { location: location, tags: tags, token: token }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: { location: location, tags: tags, token: token }
}

module registry 'modules/registry.bicep' = {
  name: 'registry'
  scope: group
  params: { location: location, tags: tags, token: token }
}

module webPubSub 'modules/webpubsub.bicep' = {
  name: 'webpubsub'
  scope: group
  params: { location: location, tags: tags, token: token, sku: webPubSubSku }
}

module vault 'modules/vault.bicep' = {
  name: 'vault'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    eventsCode: eventsCode
    anthropicApiKey: anthropicApiKey
  }
}

module access 'modules/access.bicep' = {
  name: 'access'
  scope: group
  params: {
    appPrincipalId: identities.outputs.appPrincipalId
    runnerPrincipalId: identities.outputs.runnerPrincipalId
    developerPrincipalId: principalId
    runnerIdentityName: identities.outputs.runnerName
    storageName: storage.outputs.name
    insightsName: monitoring.outputs.insightsName
    registryName: registry.outputs.name
    webPubSubName: webPubSub.outputs.name
    vaultName: vault.outputs.name
  }
}

module app 'modules/app.bicep' = {
  name: 'app'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    identityId: identities.outputs.appId
    packages: storage.outputs.packages
    origins: origins
    maximumInstanceCount: maximumInstanceCount
    appSettings: union(
      {
        AzureWebJobsStorage__accountName: storage.outputs.name
        AzureWebJobsStorage__credential: 'managedidentity'
        AzureWebJobsStorage__clientId: identities.outputs.appClientId
        AZURE_CLIENT_ID: identities.outputs.appClientId
        APPLICATIONINSIGHTS_CONNECTION_STRING: monitoring.outputs.connectionString
        APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identities.outputs.appClientId};Authorization=AAD'
        RUNYARD_APIS: apis
        RUNYARD_PUBLIC_URL: ''
        RUNYARD_WEBPUBSUB: webPubSub.outputs.endpoint
        RUNYARD_ARM_ENDPOINT: 'https://${split(environment().resourceManager, '/')[2]}' // no slash at its end
        RUNYARD_SUBSCRIPTION_ID: subscription().subscriptionId
        RUNYARD_RESOURCE_GROUP: group.name
        RUNYARD_LOCATION: location
        RUNYARD_RUNNER_IMAGE: '${registry.outputs.loginServer}/runner:1'
        RUNYARD_RUNNER_IDENTITY: identities.outputs.runnerId
        // The platform answers browsers. Not empty: a host may drop empty values, and the app's own default is "*".
        RUNYARD_CORS_ORIGINS: 'none'
        RUNYARD_ARTIFACT_LIMIT: '50000000'
        RUNYARD_EVENTS_CODE: vault.outputs.eventsCodeReference
        STEPFLOW_AUTH_ENABLED: 'true'
        ANTHROPIC_API_KEY: vault.outputs.anthropicApiKeyReference
        RUNYARD_ANTHROPIC_URL: ''
        RUNYARD_RATE_MINUTE: '100'
        RUNYARD_RATE_SECOND: '20'
        RUNYARD_SEALING_KEYS: vault.outputs.sealingKeysReference
        RUNYARD_PRIVATE_HOSTS: ''
        RUNYARD_METRICS_OPEN: 'true'
        RUNYARD_ENVIRONMENT: environmentName
      },
      extraSettings
    )
  }
  dependsOn: [access] // it reads its package and its secrets when it starts
}

module hub 'modules/hubs.bicep' = {
  name: 'hubs'
  scope: group
  params: {
    webPubSubName: webPubSub.outputs.name
    hubs: hubs
    appUrl: app.outputs.url
    eventsCode: eventsCode
  }
}

output AZURE_LOCATION string = location
output AZURE_RESOURCE_GROUP string = group.name
output AZURE_CONTAINER_REGISTRY_NAME string = registry.outputs.name
output RUNYARD_APP_ID string = app.outputs.id
output RUNYARD_URL string = app.outputs.url
output RUNYARD_VAULT_ID string = vault.outputs.id
