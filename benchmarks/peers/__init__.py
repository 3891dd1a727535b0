"""Other servers: how they are built, started and fed."""
