"""The command `beamhouse`: its options, the server's start and end, `generate` and `doctor`."""
