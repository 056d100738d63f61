"""One file a method, and the runner of exported ones."""
