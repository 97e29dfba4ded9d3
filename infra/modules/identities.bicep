// Two identities: one for the app, and one for containers. Code in a container can use the container's identity, so
// that one has a single right: to pull the runner's image.
param location string
param tags object
param token string

resource app 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-app-${token}'
  location: location
  tags: tags
}

resource runner 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-runner-${token}'
  location: location
  tags: tags
}

output appId string = app.id
output appClientId string = app.properties.clientId
output appPrincipalId string = app.properties.principalId
output runnerId string = runner.id
output runnerName string = runner.name
output runnerPrincipalId string = runner.properties.principalId
