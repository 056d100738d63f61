"""Label orders and mappings."""
