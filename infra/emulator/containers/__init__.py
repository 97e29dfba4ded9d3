"""An emulator of Container Instances: the management API of the service in front of real processes."""
