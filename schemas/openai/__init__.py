"""The bodies and answers of OpenAI's protocol, with what vLLM and llama.cpp add to it."""
