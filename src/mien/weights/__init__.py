"""Network files and their contracts."""
