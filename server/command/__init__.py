"""The command `beamhouse`: its options, the server's start and end, and what asks a server or a model here."""
