"""The forward pass over everything that a step feeds, and the check of it while a model is loaded."""
