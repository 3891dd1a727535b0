"""The bodies and answers of Anthropic's protocol."""
