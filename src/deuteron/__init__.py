"""Deuteron: the smallest whole OpenStack."""
