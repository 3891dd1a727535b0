"""The command `beamhouse chat`: a conversation in a terminal, with a server or with a model on this machine."""
