"""The bodies of the protocol that `transformers chat` speaks beside OpenAI's."""
