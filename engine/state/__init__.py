"""What a step works on: requests, sequences, batches, the blocks of the cache, and what is remembered."""
