"""An emulator of the Azure services that Functions apps use: each speaks the wire protocol of the real service."""
