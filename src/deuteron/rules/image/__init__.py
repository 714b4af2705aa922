"""The laws of the Image service: descriptions, members, data and their states."""
