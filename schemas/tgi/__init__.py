"""The bodies and answers of text-generation-inference's protocol."""
