"""Detection, pose and quality."""
