"""An engine that computes nothing, so that what is around it can be measured."""
