"""The laws of the Block Storage service."""
