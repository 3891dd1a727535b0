"""Everything that may be wrong with a request, as one ordered list of rules."""
