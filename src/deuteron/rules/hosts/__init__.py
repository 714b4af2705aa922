"""The hosts of the cloud."""
