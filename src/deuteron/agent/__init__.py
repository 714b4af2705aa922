"""The process on a host: hears what the host should have, makes it so, and says what became of it."""
