"""Models that are made to be measured."""
