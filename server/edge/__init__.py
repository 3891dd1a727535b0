"""Where HTTP meets us: connections, bodies, errors, event streams."""
