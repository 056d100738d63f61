"""Pure functions that measure."""
