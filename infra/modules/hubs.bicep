// One hub for each API. Anonymous clients may connect, because each API authenticates its clients itself.
param webPubSubName string
param hubs string[]
param appUrl string

@secure()
param eventsCode string

resource service 'Microsoft.SignalRService/webPubSub@2024-03-01' existing = {
  name: webPubSubName
}

resource hub 'Microsoft.SignalRService/webPubSub/hubs@2024-03-01' = [
  for name in hubs: {
    parent: service
    name: name
    properties: {
      anonymousConnectPolicy: 'allow'
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
