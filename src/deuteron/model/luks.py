"""What of an encrypted disk is not its guest's: the header before its data."""

from __future__ import annotations

from typing import Final

HEADER_BYTES: Final = 2 * 1024 * 1024
"""Of every encrypted volume, which its guest sees as smaller by so much."""
