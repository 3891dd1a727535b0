"""OpenAI's protocol: models, completions and chat, with what vLLM and llama.cpp add to it."""
