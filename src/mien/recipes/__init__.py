"""What made the shipped files, step by step."""
