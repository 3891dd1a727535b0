"""From bodies to what the engine is asked: prompts, configurations, submissions."""
