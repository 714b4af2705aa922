"""Frozen values and resource declarations. No I/O; imports nothing else of ours."""
