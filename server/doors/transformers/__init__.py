"""What `transformers chat` asks for beside OpenAI's chat and the probes."""
