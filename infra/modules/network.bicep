// A network for code that must not reach other machines: its containers reach this app's services and nothing else.
param location string
param tags object
param token string
param appPrincipalId string

@description('Whether there is such a network.')
param codeNetwork bool

var networkContributor = '4d97b98b-1d4f-4787-a291-c67834d212e7'
// The app, its files, and the hub of warm containers. Names of the same services elsewhere are among these addresses.
var reached = ['AppService', 'Storage', 'AzureWebPubSub']

resource rules 'Microsoft.Network/networkSecurityGroups@2024-05-01' = if (codeNetwork) {
  name: 'nsg-${token}'
  location: location
  tags: tags
  properties: {
    securityRules: union(
      map(reached, service => {
        name: 'allow-${service}'
        properties: {
          direction: 'Outbound'
          access: 'Allow'
          priority: service == reached[0] ? 100 : service == reached[1] ? 110 : 120
          protocol: 'Tcp'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: service
          destinationPortRange: '443'
        }
      }),
      [
        {
          name: 'deny-all-others'
          properties: {
            direction: 'Outbound'
            access: 'Deny'
            priority: 4000
            protocol: '*'
            sourceAddressPrefix: '*'
            sourcePortRange: '*'
            destinationAddressPrefix: '*'
            destinationPortRange: '*'
          }
        }
      ]
    )
  }
}

resource network 'Microsoft.Network/virtualNetworks@2024-05-01' = if (codeNetwork) {
  name: 'vnet-${token}'
  location: location
  tags: tags
  properties: {
    addressSpace: { addressPrefixes: ['10.64.0.0/22'] }
    subnets: [
      {
        name: 'code'
        properties: {
          addressPrefix: '10.64.0.0/22'
          networkSecurityGroup: { id: rules.id }
          delegations: [
            {
              name: 'containers'
              properties: { serviceName: 'Microsoft.ContainerInstance/containerGroups' }
            }
          ]
        }
      }
    ]
  }
}

// Lets the app put containers into the network.
resource appNetwork 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (codeNetwork) {
  scope: network
  name: guid(network.id, appPrincipalId, networkContributor)
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', networkContributor)
  }
}

output subnetId string = codeNetwork ? '${network.id}/subnets/code' : ''
