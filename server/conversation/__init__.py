"""What the text of a model means in a conversation: reasoning, calls of tools, text; and grammars that force calls."""
