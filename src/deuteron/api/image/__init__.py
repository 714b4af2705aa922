"""Image v2 (Glance's API)."""
