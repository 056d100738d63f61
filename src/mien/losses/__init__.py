"""Losses that more than one method can use, one file each."""
