"""What a generation configuration is: its fields, its rules, its modes, and what it comes to when it runs."""
