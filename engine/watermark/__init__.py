"""The arithmetic of watermarks and how they are found; without torch."""
