"""The settings: each with its type, its range and its default, and where its value comes from."""
