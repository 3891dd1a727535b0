"""The HTTP process: doors, what is asked of the engine, what is answered, and the command."""
