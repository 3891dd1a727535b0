"""What is asked in benchmarks, and whether answers are the same."""
