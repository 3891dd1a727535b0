"""What the machine can do, whoever asks it."""
