"""The command `beamhouse bench`: load on any door of a server, and what its streams were like."""
