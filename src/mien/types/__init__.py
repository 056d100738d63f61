"""Typed results, numpy only."""
