"""The bodies, answers and events of our own protocol."""
