"""The transport: how a message travels to a worker."""
