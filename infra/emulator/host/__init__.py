"""An emulator of the Functions host: runs the functions of one app on HTTP, timers, queues and Durable Functions."""
