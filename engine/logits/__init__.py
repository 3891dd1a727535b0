"""From logits to scores: the processors, their order, and draws."""
