// A network for code that must not reach other machines: its containers reach this app's services and nothing else.
param location string
param tags object
param token string
param appPrincipalId string

@description('Whether there is such a network.')
param codeNetwork bool

var networkContributor = '4d97b98b-1d4f-4787-a291-c67834d212e7'
// The app, its files, the hub of warm containers, and what the image is pulled from, by an identity. Names of the same
// services elsewhere are among these addresses.
var reached = ['AppService', 'Storage', 'AzureWebPubSub', 'AzureContainerRegistry', 'AzureActiveDirectory']

resource rules 'Microsoft.Network/networkSecurityGroups@2024-05-01' = if (codeNetwork) {
  name: 'nsg-${token}'
  location: location
  tags: tags
  properties: {
    securityRules: union(
      map(reached, (service, index) => {
        name: 'allow-${service}'
        properties: {
          direction: 'Outbound'
          access: 'Allow'
          priority: 100 + index
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

// Containers of a network have no other way to addresses outside of it.
resource outgoing 'Microsoft.Network/publicIPAddresses@2024-05-01' = if (codeNetwork) {
  name: 'pip-${token}'
  location: location
  tags: tags
  sku: { name: 'Standard' }
  properties: {
    publicIPAllocationMethod: 'Static'
  }
}

resource gateway 'Microsoft.Network/natGateways@2024-05-01' = if (codeNetwork) {
  name: 'ng-${token}'
  location: location
  tags: tags
  sku: { name: 'Standard' }
  properties: {
    publicIpAddresses: [{ id: outgoing.id }]
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
          natGateway: { id: gateway.id }
          serviceEndpoints: [{ service: 'Microsoft.Storage' }]
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
