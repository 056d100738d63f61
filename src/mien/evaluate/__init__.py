"""Measure networks under a protocol."""
