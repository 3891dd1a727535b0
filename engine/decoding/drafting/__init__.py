"""Where drafts come from: another model, the prompt, or the first layers of the model itself."""
