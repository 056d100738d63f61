"""Action units of the face."""
