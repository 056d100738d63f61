"""Methods that read more than the expression from one picture."""
