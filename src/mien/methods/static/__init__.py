"""Methods for still pictures."""
