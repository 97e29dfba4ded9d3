// One hub for each API, and one for warm containers. Anonymous clients may connect to the hub of an API, because each API
// authenticates its clients itself; warm containers have tokens.
param webPubSubName string
param hubs string[]
param appUrl string

@secure()
param eventsCode string

resource service 'Microsoft.SignalRService/webPubSub@2024-03-01' existing = {
  name: webPubSubName
}

resource hub 'Microsoft.SignalRService/webPubSub/hubs@2024-03-01' = [
  for name in union(hubs, ['warm']): {
    parent: service
    name: name
    properties: {
      anonymousConnectPolicy: name == 'warm' ? 'deny' : 'allow'
      eventHandlers: [
        {
          urlTemplate: '${appUrl}/realtime/{hub}/{event}?code=${uriComponent(eventsCode)}'
          systemEvents: ['connect', 'connected', 'disconnected']
          userEventPattern: '*'
        }
      ]
    }
  }
]
