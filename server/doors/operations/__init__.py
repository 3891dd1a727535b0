"""The routes for those who run the server: health, metrics, what is served, the page of the interface."""
