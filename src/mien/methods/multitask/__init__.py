"""Methods that answer several questions at once: expression with valence and arousal, or with attributes."""
