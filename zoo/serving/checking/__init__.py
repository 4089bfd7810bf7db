"""Check exports, the folders around them, and the servers that serve them."""
