"""The engine process: it holds the model and runs all requests in one loop."""
