// All Azure resources of Runyard, in one resource group. Access is by managed identities and roles, without access keys.
targetScope = 'subscription'

@minLength(1)
@maxLength(64)
@description('Name of the azd environment; the names of all resources are derived from it.')
param environmentName string

@minLength(1)
@description('Region of all resources; it must offer Flex Consumption, Container Instances and Web PubSub.')
@metadata({ azd: { type: 'location' } })
param location string

@description('Object id of a developer who gets the same roles on storage and Web PubSub as the app; empty: no developer does.')
param principalId string = ''

@description('The APIs to serve, separated by commas. Each gets a Web PubSub hub with the name of the API.')
param apis string = 'gateway,stepflow,anymind,dev8,ownpilot'

@description('Origins from which browsers may call the app (CORS), separated by commas; * allows all, empty allows none.')
param corsOrigins string = '*'

@secure()
@description('API key of the first administrator, a long random text; empty: there is none.')
param adminKey string = ''

@secure()
@description('Anthropic API key for the Claude models; empty: Claude models are not available.')
param anthropicApiKey string = ''

@description('Image of the workspaces of Dev8; own: the image of infra/workspace, which the hook of azure.yaml builds.')
param dev8Image string = 'vaibhavsing/dev8-workspace:latest'

@description('User with which that image is pulled from a private registry; empty: without a login.')
param dev8RegistryUser string = ''

@secure()
@description('Password of that user.')
param dev8RegistryPassword string = ''

@secure()
@description('Certificate chain and private key (PEM) of the proxies of Dev8, in base64; empty: each proxy issues its own.')
param dev8TlsCertificateBase64 string = ''

@secure()
@description('Secret of at least 32 characters that signs the tokens of OwnPilot when OWNPILOT_AUTH is jwt; empty: there is none.')
param ownpilotJwtSecret string = ''

@secure()
@description('Secret in the URL to which Web PubSub sends events. By default each deployment creates a new one.')
param eventsCode string = newGuid()

@allowed(['Free_F1', 'Standard_S1', 'Premium_P1'])
@description('Pricing tier of Web PubSub; Free_F1 allows 20 connections and 20,000 messages a day.')
param webPubSubSku string = 'Free_F1'

@minValue(1)
@maxValue(1000)
@description('Largest number of instances to which the app scales out.')
param maximumInstanceCount int = 40

@minValue(0)
@maxValue(100)
@description('Instances that always run for requests, and as many for workflows; 0: the first request after a pause waits for a start.')
param alwaysReadyInstances int = 0

@description('Containers that wait for jobs, such as python=2; empty: none, and nothing is billed for them.')
param warm string = ''

@description('Whether code of workspaces that must not reach other machines runs in a network without a way out; such containers never wait warm.')
param codeNetwork bool = false

@secure()
@description('Additional app settings by name; they override the settings that this file sets.')
param extraSettings object = {}

var tags = { 'azd-env-name': environmentName }
var token = uniqueString(subscription().id, environmentName, location)
var hubs = filter(map(split(apis, ','), api => trim(api)), api => !empty(api))
var origins = filter(map(split(corsOrigins, ','), origin => trim(origin)), origin => !empty(origin))

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

module shares 'modules/shares.bicep' = {
  name: 'shares'
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

module network 'modules/network.bicep' = {
  name: 'network'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    appPrincipalId: identities.outputs.appPrincipalId
    codeNetwork: codeNetwork
  }
}

module vault 'modules/vault.bicep' = {
  name: 'vault'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    eventsCode: eventsCode
    adminKey: adminKey
    anthropicApiKey: anthropicApiKey
    dev8RegistryPassword: dev8RegistryPassword
    dev8TlsCertificateBase64: dev8TlsCertificateBase64
    ownpilotJwtSecret: ownpilotJwtSecret
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
    sharesName: shares.outputs.name
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
    alwaysReadyInstances: alwaysReadyInstances
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
        RUNYARD_ARM_ENDPOINT: 'https://${split(environment().resourceManager, '/')[2]}' // without the trailing slash
        RUNYARD_ARM_TIMEOUT: '20'
        RUNYARD_SUBSCRIPTION_ID: subscription().subscriptionId
        RUNYARD_RESOURCE_GROUP: group.name
        RUNYARD_LOCATION: location
        RUNYARD_RUNNER_IMAGE: '${registry.outputs.loginServer}/runner:1'
        RUNYARD_RUNNER_IDENTITY: identities.outputs.runnerId
        RUNYARD_CORS_ORIGINS: corsOrigins
        RUNYARD_PLATFORM_CORS: 'true'
        RUNYARD_ARTIFACT_LIMIT: '50000000'
        RUNYARD_EVENTS_CODE: vault.outputs.eventsCodeReference
        STEPFLOW_AUTH_ENABLED: 'true'
        ANTHROPIC_API_KEY: vault.outputs.anthropicApiKeyReference
        RUNYARD_ANTHROPIC_URL: ''
        RUNYARD_RATE_MINUTE: '100'
        RUNYARD_RATE_SECOND: '20'
        RUNYARD_SEALING_KEYS: vault.outputs.sealingKeysReference
        RUNYARD_PRIVATE_HOSTS: ''
        RUNYARD_REGISTRATION: 'closed'
        RUNYARD_ADMIN_KEY: vault.outputs.adminKeyReference
        RUNYARD_METRICS_OPEN: 'false'
        RUNYARD_ENVIRONMENT: environmentName
        RUNYARD_SOCKET_SILENCE: '10'
        RUNYARD_PROBE_PAUSES: '15,30,60'
        RUNYARD_JOB_MEMORY: '1.5'
        RUNYARD_START_PAUSES: '5,10,20,40,60'
        RUNYARD_START_DEADLINE: '3600'
        RUNYARD_CLIENT_JOBS: '0'
        RUNYARD_LOG_LIMIT: '100000000'
        RUNYARD_WARM: warm
        RUNYARD_WARM_IDLE: '60'
        RUNYARD_WARM_AGE: '3600'
        RUNYARD_HISTORY_DAYS: '30'
        RUNYARD_KEY_CACHE: '5'
        ANYMIND_SECRET_KEYS: vault.outputs.anymindSecretKeysReference
        ANYMIND_CORS_ORIGINS: 'http://localhost:3000,http://localhost:8000'
        ANYMIND_RATE_MINUTE: '600'
        ANYMIND_UPLOAD_LIMIT: '104857600'
        ANYMIND_INSTALL: 'on'
        // Of the host: 110 MB, so that an upload of 100 MB has room for the form around it.
        FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: '115343360'
        RUNYARD_HEALTH_FRESH: '5'
        DEV8_AUTH_ENABLED: 'true'
        DEV8_CORS_ORIGINS: 'http://localhost:3000'
        DEV8_REGIONS: 'eastus,westus,westus2,centralus,northeurope,westeurope,eastasia,southeastasia'
        DEV8_MAX_CORES: '4'
        DEV8_MAX_MEMORY: '16'
        DEV8_MAX_STORAGE: '100'
        DEV8_ENVIRONMENTS: '50'
        DEV8_USER_ENVIRONMENTS: '10'
        DEV8_IMAGE: dev8Image == 'own' ? '${registry.outputs.loginServer}/workspace:1' : dev8Image
        DEV8_REGISTRY_USER: dev8RegistryUser
        DEV8_REGISTRY_PASSWORD: vault.outputs.dev8RegistryLoginReference
        DEV8_TLS_IMAGE: '${registry.outputs.loginServer}/caddy:2'
        DEV8_TLS_CERTIFICATE: vault.outputs.dev8TlsCertificateReference
        DEV8_STORAGE_ACCOUNT: shares.outputs.name
        DEV8_IDLE_MINUTES: '30'
        DEV8_REPORT_SECONDS: '30'
        DEV8_START_DEADLINE: '900'
        DEV8_LOOK_PAUSES: '0.5,0.5,1,1,2,3,5,10'
        DEV8_SHARE_DAYS: '7'
        DEV8_CORE_PRICE: '0'
        DEV8_MEMORY_PRICE: '0'
        RUNYARD_MAX_RECORDS: '10000'
        OWNPILOT_AUTH: 'api-key'
        OWNPILOT_JWT_SECRET: vault.outputs.ownpilotJwtSecretReference
        OWNPILOT_CURRENCY: 'USD'
        OWNPILOT_RATE_MINUTE: '500'
        OWNPILOT_RATE_BURST: '750'
        MODELS_DEV_URL: 'https://models.dev/api.json'
        ECB_RATES_URL: 'https://www.ecb.europa.eu/stats/eurofxref/eurofxref-daily.xml'
        OWNPILOT_PRIVATE_PROVIDERS: 'false'
        OWNPILOT_MODEL_SILENCE: '120'
        GOOGLE_AUTH_URL: 'https://accounts.google.com/o/oauth2/v2/auth'
        GOOGLE_TOKEN_URL: 'https://oauth2.googleapis.com/token'
        GOOGLE_USERINFO_URL: 'https://openidconnect.googleapis.com/v1/userinfo'
        GOOGLE_REVOKE_URL: 'https://oauth2.googleapis.com/revoke'
        TELEGRAM_API_BASE: 'https://api.telegram.org'
        SLACK_API_BASE: 'https://slack.com/api'
        DISCORD_API_BASE: 'https://discord.com/api/v10'
        OWNPILOT_CODE_SUBNET: network.outputs.subnetId
        OWNPILOT_TOOLS_IN_CONTAINER: 'false'
      },
      extraSettings
    )
  }
  dependsOn: [access] // the app needs its roles to read its package and its secrets when it starts
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
output DEV8_IMAGE string = dev8Image
output RUNYARD_APP_ID string = app.outputs.id
output RUNYARD_URL string = app.outputs.url
output RUNYARD_VAULT_ID string = vault.outputs.id
