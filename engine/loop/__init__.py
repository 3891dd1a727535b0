"""The step loop: who is taken in, fed, settled, told and let go."""
