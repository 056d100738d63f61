"""Methods in which a language model says what a face shows, and why."""
