"""The routes of our own protocol."""
