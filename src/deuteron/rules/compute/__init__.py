"""The laws of the Compute service."""
