"""Which extra specs of flavors Nova knows, and what their values may be: looked at since microversion 2.86.

An extra spec without a namespace, or of one that Nova does not know, may say anything.

Source: nova/api/validation/extra_specs.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from deuteron.model.codecs import quoted
from deuteron.model.errors import BadRequest
from deuteron.rules.placement import names


@dataclass(frozen=True)
class _Number:
    least: int | None = None
    most: int | None = None

    def wrong(self, value: str) -> str | None:
        try:
            number = int(value)
        except ValueError:
            return f"'{quoted(value)}' is not a valid integer value."
        if self.most is not None and number > self.most:
            return f"'{number}' is greater than the max value of '{self.most}'."
        if self.least is not None and number < self.least:
            return f"'{number}' is less than the min value of '{self.least}'."
        return None


@dataclass(frozen=True)
class _Switch:
    def wrong(self, value: str) -> str | None:
        is_one = value.strip().lower() in _SWITCHED
        return None if is_one else f"'{quoted(value)}' is not a valid boolean-like value."


@dataclass(frozen=True)
class _Choice:
    words: tuple[str, ...]

    def wrong(self, value: str) -> str | None:
        return None if value in self.words else f"'{quoted(value)}' is not one of: {', '.join(self.words)}."


@dataclass(frozen=True)
class _Pattern:
    text: str
    said: str
    """The same as Nova writes it, which may take very long for what does not match."""

    def wrong(self, value: str) -> str | None:
        return None if re.fullmatch(self.text, value) else f"'{quoted(value)}' is not of the format '{self.said}'."


@dataclass(frozen=True)
class _Anything:
    def wrong(self, value: str) -> str | None:
        return None


_Rule: TypeAlias = _Number | _Switch | _Choice | _Pattern | _Anything

_SWITCHED: Final = frozenset(["1", "t", "true", "on", "y", "yes", "0", "f", "false", "off", "n", "no"])
_CPUS: Final = _Pattern(r"\^?\d+(-\d+|,\^?\d+)*", r"\^?\d+((-\d+)?(,\^?\d+(-\d+)?)?)*")
_PAGES: Final = r"(large|small|any|\d+([kKMGT]i?)?(b|bit|B)?)"
_ALIASES: Final = r"[^:]+:\d+(?:\s*,\s*[^:]+:\d+)*"
_ANY: Final = _Anything()
_SWITCH: Final = _Switch()
_COUNT: Final = _Number(0)
_AT_LEAST_ONE: Final = _Number(1)
_WISH: Final = _Choice(("required", "forbidden"))

_HARDWARE: Final[Mapping[str, _Rule]] = {
    "cpu_realtime": _SWITCH,
    "cpu_realtime_mask": _CPUS,
    "hide_hypervisor_id": _SWITCH,
    "cpu_policy": _Choice(("dedicated", "shared", "mixed")),
    "cpu_thread_policy": _Choice(("prefer", "isolate", "require")),
    "emulator_threads_policy": _Choice(("isolate", "share")),
    "cpu_dedicated_mask": _CPUS,
    "mem_page_size": _Pattern(_PAGES, _PAGES),
    "locked_memory": _SWITCH,
    "numa_nodes": _AT_LEAST_ONE,
    "pci_numa_affinity_policy": _Choice(("required", "preferred", "legacy", "socket")),
    "cpu_sockets": _AT_LEAST_ONE,
    "cpu_cores": _AT_LEAST_ONE,
    "cpu_threads": _AT_LEAST_ONE,
    "cpu_max_sockets": _AT_LEAST_ONE,
    "cpu_max_cores": _AT_LEAST_ONE,
    "cpu_max_threads": _AT_LEAST_ONE,
    "boot_menu": _SWITCH,
    "vif_multiqueue_enabled": _SWITCH,
    "mem_encryption": _SWITCH,
    "mem_encryption_model": _Choice(("amd-sev", "amd-sev-es", "amd-sev-snp", "intel-tdx")),
    "pmem": _Pattern(r"[a-zA-Z0-9_]+(,[a-zA-Z0-9_]+)*,?", r"([a-zA-Z0-9_]+(,)?)+"),
    "pmu": _SWITCH,
    "serial_port_count": _COUNT,
    "tpm_model": _Choice(("tpm-tis", "tpm-crb")),
    "tpm_version": _Choice(("1.2", "2.0")),
    "tpm_secret_security": _Choice(("user", "host", "deployment")),
    "watchdog_action": _Choice(("none", "pause", "poweroff", "reset", "disabled")),
    "viommu_model": _Choice(("intel", "smmuv3", "virtio", "auto")),
    "virtio_packed_ring": _SWITCH,
    "sound_model": _Choice(("sb16", "es1370", "pcspk", "ac97", "ich6", "ich9", "usb", "virtio")),
    "usb_model": _Choice(("none", "nec-xhci", "qemu-xhci")),
    "redirected_usb_ports": _Number(0, 15),
    "ephemeral_encryption": _SWITCH,
    "ephemeral_encryption_format": _Choice(("plain", "luks", "luksv2")),
}

_QUOTA: Final[Mapping[str, _Rule]] = {
    "cpu_shares": _COUNT,
    "cpu_period": _COUNT,
    "cpu_quota": _Number(),
    **{f"{what}_limit": _COUNT for what in ("cpu", "memory", "disk_io", "vif")},
    **{f"{what}_reservation": _Number() for what in ("cpu", "memory", "disk_io", "vif")},
    **{
        f"{what}_shares_level": _Choice(("custom", "high", "normal", "low"))
        for what in ("cpu", "memory", "disk_io", "vif")
    },
    **{f"{what}_shares_share": _COUNT for what in ("cpu", "memory", "disk_io", "vif")},
    **{f"disk_{what}_{unit}_sec": _COUNT for what in ("read", "write", "total") for unit in ("bytes", "iops")},
    **{f"vif_{way}_{what}": _COUNT for way in ("inbound", "outbound") for what in ("average", "peak", "burst")},
}

_CAPABILITIES: Final = [
    "id",
    "uuid",
    "service_id",
    "host",
    "vcpus",
    "memory_mb",
    "local_gb",
    "vcpus_used",
    "memory_mb_used",
    "local_gb_used",
    "hypervisor_type",
    "hypervisor_version",
    "hypervisor_hostname",
    "free_ram_mb",
    "free_disk_gb",
    "current_workload",
    "running_vms",
    "disk_available_least",
    "host_ip",
    "mapped",
    "cpu_allocation_ratio",
    "ram_allocation_ratio",
    "disk_allocation_ratio",
    "total_usable_ram_mb",
    "total_usable_disk_gb",
    "disk_mb_used",
    "free_disk_mb",
    "vcpus_total",
    "num_instances",
    "num_io_ops",
    "failed_builds",
    "aggregates",
    "cell_uuid",
    "updated",
]
_NESTED: Final = [
    "cpu_info",
    "metrics",
    "stats",
    "numa_topology",
    "supported_hv_specs",
    "pci_device_pools",
    "nodename",
    "pci_stats",
    "supported_instances",
    "limits",
    "instances",
]

_EXACT: Final[Mapping[str, _Rule]] = {
    "accel:device_profile": _ANY,
    **{f"capabilities:{name}": _ANY for name in _CAPABILITIES},
    **{f"hw:{name}": rule for name, rule in _HARDWARE.items()},
    "hw_rng:allowed": _SWITCH,
    "hw_rng:rate_bytes": _COUNT,
    "hw_rng:rate_period": _COUNT,
    "hw_video:ram_max_mb": _COUNT,
    "hide_hypervisor_id": _SWITCH,
    "group_policy": _Choice(("isolate", "none")),
    "os:secure_boot": _Choice(("disabled", "required")),
    "pci_passthrough:alias": _Pattern(_ALIASES, _ALIASES),
    **{f"quota:{name}": rule for name, rule in _QUOTA.items()},
    "vmware:hw_version": _ANY,
    "vmware:storage_policy": _ANY,
}

_GROUP: Final = "[a-zA-Z0-9_-]{0,64}"
_NAMESPACES: Final = re.compile(
    rf"accel|aggregate_instance_extra_specs|capabilities|hw|hw_rng|hw_video|os|pci_passthrough|quota|vmware"
    rf"|(resources|trait){_GROUP}"
)


@functools.cache
def _formed() -> Sequence[tuple[re.Pattern[str], _Rule]]:
    """Those whose names hold something that they are about."""
    classes = "|".join(map(re.escape, names.standard_classes()))
    return (
        (re.compile("aggregate_instance_extra_specs:.+"), _ANY),
        (re.compile(rf"capabilities:({'|'.join(_NESTED)})(:\w+)*"), _ANY),
        (re.compile("hw:numa_cpus[.][0-9]+"), _CPUS),
        (re.compile("hw:numa_mem[.][0-9]+"), _AT_LEAST_ONE),
        (re.compile(rf"resources{_GROUP}:({classes}|CUSTOM_[A-Z0-9_]+)"), _Number()),
        (re.compile(rf"trait{_GROUP}:CUSTOM_[A-Z0-9_]+"), _WISH),
    )


def check(specs: Mapping[str, str]) -> None:
    """Raises: BadRequest for a name that Nova does not know in its own namespaces, and for a value that is none."""
    for name, value in specs.items():
        rule = _rule(name)
        if rule is not None and (why := rule.wrong(value)):
            raise BadRequest(f"Validation failed; {why}", type="ValidationError")


def _rule(name: str) -> _Rule | None:
    """What the value has to obey; None for anything. Raises: BadRequest."""
    if name in _EXACT:
        return _EXACT[name]
    for form, rule in _formed():
        if form.fullmatch(name):
            return rule
    namespace, colon, rest = name.partition(":")
    if not colon or not _NAMESPACES.fullmatch(namespace):
        return None
    if namespace.startswith("trait") and rest in names.standard_traits():
        return _WISH
    raise BadRequest(
        f"Validation failed; extra spec '{name}' does not appear to be a valid extra spec.", type="ValidationError"
    )
