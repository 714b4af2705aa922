"""Tables of the compute service."""
