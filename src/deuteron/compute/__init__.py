"""Virtual machines on one host. The agent opens a driver with `open_compute` and speaks `contract.ComputeDriver`."""

from deuteron.compute.contract import (
    AgentRefused,
    ComputeDriver,
    ConsoleUnavailable,
    HostFacts,
    HostUse,
    NoSuchConsole,
    NotRunning,
)
from deuteron.compute.host import NoHypervisor, open_compute

__all__ = [
    "AgentRefused",
    "ComputeDriver",
    "ConsoleUnavailable",
    "HostFacts",
    "HostUse",
    "NoHypervisor",
    "NoSuchConsole",
    "NotRunning",
    "open_compute",
]
