"""Files in, typed results out."""
