"""text-generation-inference's protocol."""
