"""How long the driver of virtual machines waits, and how much it does at once."""

from __future__ import annotations

import msgspec


class ComputeOptions(msgspec.Struct, frozen=True):
    """Times and sizes; tests shorten them."""

    uri: str = "qemu:///system"
    workers: int = 4
    watch_interval_s: float = 1.0
    shutdown_timeout_s: float = 30.0
    """How long a guest may take to shut itself down before it is switched off."""
    detach_timeout_s: float = 15.0
    quiet_timeout_s: float = 60.0
    """How long a server may be busy before who wants it to stand still gives up, and tries again later."""
    retry_first_s: float = 1.0
    retry_most_s: float = 60.0
