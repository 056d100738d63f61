"""Alignment and augmentation."""
