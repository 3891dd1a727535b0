"""What may be asked and what is answered, without the web and without the engine."""
