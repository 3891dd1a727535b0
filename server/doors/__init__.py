"""The routes, a folder for each protocol."""
