"""Expressions in clips."""
