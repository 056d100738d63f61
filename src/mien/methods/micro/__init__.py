"""Micro-expressions: brief and weak, read from the motion between onset and apex."""
