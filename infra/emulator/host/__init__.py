"""A local Azure Functions host: serves the functions of one app over HTTP, on timers and by Durable Functions."""
