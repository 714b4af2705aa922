"""The laws of the Identity service."""
