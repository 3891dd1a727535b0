"""From a name to a model in memory: files, weights, tokenizer, defaults, draft models."""
