"""Blocks that three or more methods share, unchanged."""
