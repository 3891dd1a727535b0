"""The small model that comes along, and a smaller one that drafts for it."""
