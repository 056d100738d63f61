"""Expressions that are read from clips; see `mien.methods.method`."""
