"""How the model that comes along was trained; no part of the server."""
