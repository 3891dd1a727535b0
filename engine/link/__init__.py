"""All that the two processes say to each other, and what holds the connection between them."""
