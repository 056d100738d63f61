"""Methods that answer several questions about a face at once."""
