"""Servers that are started and asked over HTTP."""
