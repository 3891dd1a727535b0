"""A request while it runs: what the engine tells becomes events and an answer."""
