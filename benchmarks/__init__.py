"""What is measured: a file for each question, and rooms for what they share."""
