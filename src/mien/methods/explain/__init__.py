"""Methods that teach networks to look where people do."""
