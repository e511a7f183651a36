"""The gateway: ingress, activator and queue-proxy in one hop."""
