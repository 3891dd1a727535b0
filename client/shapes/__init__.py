"""What the bodies, answers and events of a server look like; made from its OpenAPI document."""
