"""The command line: makes clouds, shows them, and enters their hosts."""
