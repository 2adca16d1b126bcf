"""What those who operate a node need: metrics, health, structured logs, and word to the service manager."""
