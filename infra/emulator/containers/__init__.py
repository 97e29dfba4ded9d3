"""Azure Container Instances on one machine: the management wire in front of real processes."""
