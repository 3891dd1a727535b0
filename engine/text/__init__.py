"""Tokens and text, in either direction, and chat templates; without torch."""
