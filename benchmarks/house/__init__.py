"""Counts and draws how the house stands: rooms, rules, defaults, the walk of a request."""
