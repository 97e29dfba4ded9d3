// The Web PubSub service. Its hubs are in hubs.bicep, because they need the app's URL.
param location string
param tags object
param token string
param sku string

resource service 'Microsoft.SignalRService/webPubSub@2024-03-01' = {
  name: 'wps-${token}'
  location: location
  tags: tags
  sku: { name: sku, capacity: 1 }
  properties: {
    disableLocalAuth: true
  }
}

output name string = service.name
output endpoint string = 'https://${service.properties.hostName}'
