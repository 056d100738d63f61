"""Methods that learn from clips without labels, and networks that start from them."""
