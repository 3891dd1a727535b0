"""The decoding modes, a file each, and what they share: when a sequence ends, and what is told of it."""
