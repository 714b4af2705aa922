"""What a guest is made of beyond its size, as flavors and images ask for it."""

from __future__ import annotations

import msgspec


class Processors(msgspec.Struct, frozen=True):
    """How a guest's processors are told to it."""

    sockets: int
    cores: int
    threads: int


class Rng(msgspec.Struct, frozen=True, omit_defaults=True):
    """The source of random numbers: so many bytes in so many milliseconds; 0 is no limit."""

    rate_bytes: int = 0
    period_ms: int = 0


class Video(msgspec.Struct, frozen=True, omit_defaults=True):
    """A graphics card; 0 is as much memory as it has unasked."""

    model: str
    memory_mib: int = 0


class Hardware(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of one guest; what is left out is as every guest has it."""

    processors: Processors | None = None
    has_numa_node: bool = False
    """Whether the guest is told that its processors and memory are one NUMA node."""
    rng: Rng | None = Rng()
    boot_menu: bool = False
    watchdog: str | None = None
    """What happens when the guest does not feed it: `none`, `pause`, `poweroff`, `reset`."""
    video: Video | None = None
    pointer_bus: str | None = None
    """Where a tablet is plugged in: `usb` or `virtio`."""
    usb: str | None = None
    """The model of a USB controller."""
    has_agent_channel: bool = False
    """Whether there is a port for an agent in the guest to speak to its host."""
    hides_hypervisor: bool = False
    has_pmu: bool | None = None
    """Whether the guest can count its processors' events; None as it comes."""
    packed_ring: bool = False
    """Whether virtio's queues are packed."""
    nic: str = "virtio"
    disk_limits: dict[str, int] = {}
    """Of each disk that is no volume: `read_bytes_sec` and so on."""
