"""Processors and stopping criteria that an operator lets requests name."""
