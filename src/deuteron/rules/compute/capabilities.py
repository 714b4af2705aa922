"""What flavors demand of hosts by `capabilities:NAME`: figures that hosts tell of themselves, compared.

What no host tells, such as the features of its processors, no host has; traits are for those.

Source: nova/scheduler/filters/compute_capabilities_filter.py, extra_specs_ops.py; nova/scheduler/host_manager.py
`HostState`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Final

from deuteron.model.codecs import quoted
from deuteron.model.compute import Flavor
from deuteron.rules.compute.loads import Load
from deuteron.rules.hosts.registry import Host
from deuteron.rules.placement import hosts as places

_SCOPE: Final = "capabilities"


def unmet(host: Host, load: Load, flavor: Flavor) -> str | None:
    """The demand that the host does not meet, in words; None when it meets all."""
    figures: Mapping[str, str] | None = None
    for key, demand in sorted(flavor.extra_specs.items()):
        scope, colon, name = key.partition(":")
        if colon and scope != _SCOPE:
            continue
        figures = _figures(host, load) if figures is None else figures
        if not colon and key not in figures:
            continue  # a word of somebody else's
        value = figures.get(name if colon else key)
        if value is None:
            return f'the flavor demands "{quoted(key)}", of which hosts tell nothing'
        if not fits(value, demand):
            return f'the flavor demands {quoted(key)} "{quoted(demand)}", and it is {value}'
    return None


def fits(value: str, demand: str) -> bool:
    """Whether the value is as the demand says: with an operator before it, or the same text."""
    words = demand.split()
    if words and words[0] == "<or>":
        return value in words[1::2]
    compare = _COMPARISONS.get(words[0]) if words else None
    if compare is None:
        return value == demand
    try:
        return len(words) > 1 and compare(value, words[1:])
    except ValueError:  # a text is no number
        return False


def _figures(host: Host, load: Load) -> Mapping[str, str]:
    """Under the names of Nova's scheduler."""
    found: dict[str, object] = {
        "host": host.name,
        "nodename": host.name,
        "hypervisor_hostname": host.name,
        "uuid": host.id,
        "num_instances": load.servers,
    }
    if host.hello is not None:
        found |= {
            "hypervisor_type": host.hello.hypervisor_type,
            "hypervisor_version": host.hello.hypervisor_version,
            "vcpus_total": host.hello.vcpus,
            "vcpus_used": load.vcpus,
            "total_usable_ram_mb": host.hello.memory_mib,
            "free_ram_mb": host.hello.memory_mib - load.memory_mib,
            "total_usable_disk_gb": host.hello.disk_gib,
            "free_disk_mb": (host.hello.disk_gib - load.disk_gib) * 1024,
            "disk_mb_used": load.disk_gib * 1024,
        }
    ratios = {"cpu": places.VCPU, "ram": places.MEMORY, "disk": places.DISK}
    for name, resource in ratios.items():
        if resource in load.stock:
            found[f"{name}_allocation_ratio"] = load.stock[resource].inventory.allocation_ratio
    return {name: str(value) for name, value in found.items()}


def _number(compare: Callable[[float, float], bool]) -> Callable[[str, list[str]], bool]:
    return lambda value, words: compare(float(value), float(words[0]))


def _text(compare: Callable[[str, str], bool]) -> Callable[[str, list[str]], bool]:
    return lambda value, words: compare(value, words[0])


_COMPARISONS: Final[Mapping[str, Callable[[str, list[str]], bool]]] = {
    "=": _number(operator.ge),
    "==": _number(operator.eq),
    "!=": _number(operator.ne),
    ">=": _number(operator.ge),
    "<=": _number(operator.le),
    "<in>": _text(operator.contains),
    "<all-in>": lambda value, words: all(word in value for word in words),
    "s==": _text(operator.eq),
    "s!=": _text(operator.ne),
    "s<": _text(operator.lt),
    "s<=": _text(operator.le),
    "s>": _text(operator.gt),
    "s>=": _text(operator.ge),
}
