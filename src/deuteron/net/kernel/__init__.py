"""Drivers: each observes and changes one kernel table, and holds no policy."""
