"""What a flavor and an image ask of processors and memory as such: whose they are, in which nodes, in which pages.

A host here has one NUMA node, shares its processors among its guests, and gives them memory in its own pages. What
asks for that is given; what asks for more is looked at as Nova does, and found on no host.

Source: nova/virt/hardware.py `numa_get_constraints`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from deuteron.model.codecs import quoted
from deuteron.model.compute import Flavor
from deuteron.model.errors import BadRequest
from deuteron.rules.compute.image_properties import is_number
from deuteron.rules.compute.processors import MOST

_POLICIES: Final = ("dedicated", "shared", "mixed")
_THREADS: Final = ("prefer", "isolate", "require")
_MOST_NODES: Final = 128
_SIZE: Final = re.compile(r"([0-9]{1,15})([kKMGT]i?)?(b|bit|B)?")
_UNITS: Final = {"": 1, "k": 1000, "ki": 1024, "m": 1000**2, "mi": 1024**2, "g": 1000**3, "gi": 1024**3,
                 "t": 1000**4, "ti": 1024**4}  # fmt: skip
_OWN_PAGE_KIB: Final = 4
_UNCHOSEN: Final = {"small": -1, "large": -2, "any": -3}
"""How Nova numbers what is asked of pages while no host has chosen their size."""
_TRUE: Final = frozenset({"1", "t", "true", "on", "y", "yes"})


@dataclass(frozen=True)
class Numa:
    """What there is of it."""

    has_node: bool = False
    lacks: str | None = None
    """Why no host can give it."""


@dataclass(frozen=True)
class Cell:
    """One NUMA node of a guest: its processors, lowest first, and its memory."""

    cpus: tuple[int, ...]
    memory_mib: int


@dataclass(frozen=True)
class Topology:
    """The NUMA nodes of a guest. `page_kib` is None where nobody asks; negative while no host has chosen a size."""

    cells: tuple[Cell, ...]
    page_kib: int | None


def is_on(value: str) -> bool:
    """Whether a text says yes."""
    return value.strip().lower() in _TRUE


def asked(flavor: Flavor, image: Mapping[str, str]) -> Numa:
    """Raises: BadRequest for what contradicts itself."""
    specs = flavor.extra_specs
    policy = _policy(specs, image)
    threads = _threads(specs, image)
    _refuse_mixture(specs, flavor, policy, threads)
    nodes, pages = _nodes(specs, image), _pages(specs, image)
    _refuse_unpaged_lock(specs, image)
    if flavor.vcpus <= MOST:
        _check_parts(flavor, image, nodes or 1, is_asked=bool(nodes or pages or policy in ("dedicated", "mixed")))
    if policy in ("dedicated", "mixed"):
        return Numa(lacks=f"{policy} processors are asked for, and hosts here share theirs among guests")
    if any(re.fullmatch("resources([1-9][0-9]*)?:PCPU", name) for name in specs):
        return Numa(lacks="PCPU is asked for, and hosts here share their processors among guests")
    if (nodes or 1) > 1:
        return Numa(lacks=f"{nodes} NUMA nodes are asked for, and hosts here are one")
    if pages not in (None, "small", "any", _OWN_PAGE_KIB):
        size = pages if isinstance(pages, str) else f"{pages:g} KiB"
        return Numa(lacks=f"memory in {size} pages is asked for, and hosts here give pages of {_OWN_PAGE_KIB} KiB")
    if is_on(specs.get("hw:locked_memory", image.get("hw_locked_memory", "no"))):
        return Numa(lacks="locked memory is asked for, and hosts here lock none")
    return Numa(has_node=bool(nodes or pages))


def topology(flavor: Flavor, image: Mapping[str, str], *, is_placed: bool) -> Topology | None:
    """The nodes that a server has, or asks for; None without any, and for more processors than are worked out.

    A server with no host shows what it asks, also where no host can give it. Raises: BadRequest for what contradicts
    itself, which was there before anybody looked.
    """
    specs = flavor.extra_specs
    nodes, pages = _nodes(specs, image), _pages(specs, image)
    if not (nodes or pages or _policy(specs, image) in ("dedicated", "mixed")) or flavor.vcpus > MOST:
        return None
    count = nodes or 1
    _check_parts(flavor, image, count, is_asked=True)
    said = _parts(specs, image, "numa_cpus")
    memory = [int(text) if is_number(text) else 0 for text in _parts(specs, image, "numa_mem")]
    memory = memory or [flavor.ram // count] * count
    each = flavor.vcpus // count
    cpus = [_cpus(text, flavor.vcpus) for text in said] or [
        set(range(number * each, (number + 1) * each)) for number in range(count)
    ]
    size = _OWN_PAGE_KIB if is_placed else _UNCHOSEN[pages] if isinstance(pages, str) else int(pages or 0)
    cells = (Cell(tuple(sorted(mine)), mib) for mine, mib in zip(cpus, memory, strict=True))
    return Topology(tuple(cells), size if pages else None)


def _policy(specs: Mapping[str, str], image: Mapping[str, str]) -> str | None:
    flavors, images = specs.get("hw:cpu_policy"), image.get("hw_cpu_policy")
    if flavors and flavors not in _POLICIES:
        raise BadRequest(
            f"CPU policy requested from 'flavor extra specs' is invalid, given: '{quoted(flavors)}', available: "
            f"'{_POLICIES}'.",
            type="InvalidCPUAllocationPolicy",
        )
    if (flavors == "mixed" and images == "dedicated") or (flavors == "shared" and images in ("mixed", "dedicated")):
        raise BadRequest(
            "Image property 'hw_cpu_policy' is not permitted to override CPU pinning policy set against the flavor",
            type="ImageCPUPinningForbidden",
        )
    return flavors or images


def _threads(specs: Mapping[str, str], image: Mapping[str, str]) -> str | None:
    flavors, images = specs.get("hw:cpu_thread_policy"), image.get("hw_cpu_thread_policy")
    if flavors and flavors not in _THREADS:
        raise BadRequest(
            f"CPU thread policy requested from 'flavor extra specs' is invalid, given: '{quoted(flavors)}', "
            f"available: '{_THREADS}'.",
            type="InvalidCPUThreadAllocationPolicy",
        )
    if flavors in ("isolate", "require") and images and images != flavors:
        raise BadRequest(
            "Image property 'hw_cpu_thread_policy' is not permitted to override CPU thread pinning policy set against "
            "the flavor",
            type="ImageCPUThreadPolicyForbidden",
        )
    return flavors or images


def _refuse_mixture(specs: Mapping[str, str], flavor: Flavor, policy: str | None, threads: str | None) -> None:
    taken = {
        kind: sum(
            int(value)
            for name, value in specs.items()
            if re.fullmatch(f"resources([1-9][0-9]*)?:{kind}", name) and is_number(value)
        )
        for kind in ("VCPU", "PCPU")
    }
    if policy and any(taken.values()):
        raise BadRequest(
            "It is not possible to use the 'resources:VCPU' or 'resources:PCPU' extra specs in combination with the "
            "'hw:cpu_policy' extra spec or 'hw_cpu_policy' image metadata property; use one or the other",
            type="InvalidRequest",
        )
    if all(taken.values()):
        raise BadRequest(
            "It is not possible to specify both 'resources:VCPU' and 'resources:PCPU' extra specs; use one or the "
            "other",
            type="InvalidRequest",
        )
    is_isolated = specs.get("hw:emulator_threads_policy") == "isolate"
    if taken["PCPU"] and taken["PCPU"] != flavor.vcpus + is_isolated:
        raise BadRequest(
            "There is a mismatch between the number of PCPUs requested via 'resourcesNN:PCPU' and the flavor); you "
            "must allocate exactly flavor.vcpus PCPUs",
            type="InvalidRequest",
        )
    has_mask = bool(specs.get("hw:cpu_dedicated_mask"))
    is_realtime = is_on(specs.get("hw:cpu_realtime", "no"))
    if policy in (None, "shared") and not taken["PCPU"]:
        if threads:
            raise BadRequest(
                "Cannot set cpu thread pinning policy in a non dedicated cpu pinning policy",
                type="CPUThreadPolicyConfigurationInvalid",
            )
        if is_isolated:
            raise BadRequest(
                "An isolated CPU emulator threads option requires a dedicated CPU policy option.",
                type="BadRequirementEmulatorThreadsPolicy",
            )
        if is_realtime:
            raise BadRequest(
                "Cannot set realtime policy in a non dedicated cpu pinning policy", type="RealtimeConfigurationInvalid"
            )
    if policy != "mixed" and has_mask:
        raise BadRequest(
            "Cannot specify 'hw:cpu_dedicated_mask' without the 'mixed' policy.", type="RequiredMixedInstancePolicy"
        )
    if policy == "mixed" and has_mask == is_realtime:
        raise BadRequest(
            "Dedicated CPU set can be specified from either 'hw:cpu_dedicated_mask' or 'hw:cpu_realtime_mask' when "
            "using 'mixed' CPU policy. 'hw:cpu_dedicated_mask' and 'hw:cpu_realtime_mask' can not be specified at the "
            "same time, or be specified with none of them.",
            type="RequiredMixedOrRealtimeCPUMask",
        )


def _nodes(specs: Mapping[str, str], image: Mapping[str, str]) -> int | None:
    flavors, images = specs.get("hw:numa_nodes"), image.get("hw_numa_nodes")
    if flavors and images:
        raise _forbidden("hw_numa_nodes")
    nodes = flavors or images
    if nodes is None:
        return None
    if not is_number(nodes) or int(nodes) < 1:
        raise BadRequest(
            f"The property 'numa_nodes' cannot be '{quoted(nodes)}'. It must be a number greater than 0",
            type="InvalidNUMANodesNumber",
        )
    return int(nodes)


def _pages(specs: Mapping[str, str], image: Mapping[str, str]) -> str | float | None:
    """What is asked of the size of pages, in KiB where it is a number."""
    flavors, images = specs.get("hw:mem_page_size"), image.get("hw_mem_page_size")
    if images and flavors not in ("any", "large"):
        if flavors:
            _page_size(flavors)
        raise BadRequest(
            f"Page size {quoted(images)} forbidden against '{quoted(flavors or '<empty>')}'",
            type="MemoryPageSizeForbidden",
        )
    return None if flavors is None else _page_size(images or flavors)


def _page_size(text: str) -> str | float:
    """Raises: BadRequest."""
    if text in ("any", "large", "small"):
        return text
    found = _SIZE.fullmatch(text)
    if found is None:
        raise BadRequest(f"Invalid memory page size '{quoted(text)}'", type="MemoryPageSizeInvalid")
    amount, unit, kind = found.groups()
    if unit is None and kind is None:
        return int(amount)
    # Without an i the letters of bytes, too, stand for powers of 1024. Source: oslo_utils.strutils.string_to_bytes.
    name = (unit or "").lower()
    size = int(amount) * _UNITS[name if not name or name.endswith("i") else name + "i"]
    return size / (8 if kind in ("b", "bit") else 1) / 1024


def _refuse_unpaged_lock(specs: Mapping[str, str], image: Mapping[str, str]) -> None:
    flavors, images = specs.get("hw:locked_memory"), image.get("hw_locked_memory")
    if flavors is not None and images is not None and is_on(flavors) != is_on(images):
        raise BadRequest(
            f"locked_memory value in image ({is_on(images)}) and flavor ({is_on(flavors)}) conflict. A consistent "
            "value is expected if both specified.",
            type="FlavorImageLockedMemoryConflict",
        )
    has_pages = specs.get("hw:mem_page_size") or image.get("hw_mem_page_size")
    if is_on(flavors or images or "no") and not has_pages:
        raise BadRequest(
            "locked_memory value in image or flavor is forbidden when mem_page_size is not set.",
            type="LockMemoryForbidden",
        )


def _check_parts(flavor: Flavor, image: Mapping[str, str], nodes: int, *, is_asked: bool) -> None:
    """Whether each node has its own processors and memory, and all of them are given. Raises: BadRequest."""
    if not is_asked:
        return
    cpus = _parts(flavor.extra_specs, image, "numa_cpus")
    memory = _parts(flavor.extra_specs, image, "numa_mem")
    if not cpus and not memory:
        if flavor.vcpus % nodes or flavor.ram % nodes:
            raise BadRequest(
                "Instance CPUs and/or memory cannot be evenly distributed across instance NUMA nodes. Explicit "
                "assignment of CPUs and memory to nodes is required",
                type="ImageNUMATopologyAsymmetric",
            )
        return
    if len(cpus) != nodes or len(memory) != nodes:
        raise BadRequest(
            "CPU and memory allocation must be provided for all NUMA nodes", type="ImageNUMATopologyIncomplete"
        )
    left = set(range(flavor.vcpus))
    for text in cpus:
        for cpu in sorted(_cpus(text, flavor.vcpus)):
            if cpu not in left:
                raise BadRequest(f"CPU number {cpu} is assigned to two nodes", type="ImageNUMATopologyCPUDuplicates")
            left.remove(cpu)
    if left:
        raise BadRequest(
            f"CPU number {quoted(str(left))} is not assigned to any node", type="ImageNUMATopologyCPUsUnassigned"
        )
    total = sum(int(each) if is_number(each) else 0 for each in memory)
    if total != flavor.ram:
        raise BadRequest(
            f"{total} MB of memory assigned, but expected {flavor.ram} MB", type="ImageNUMATopologyMemoryOutOfRange"
        )


def _parts(specs: Mapping[str, str], image: Mapping[str, str], name: str) -> list[str]:
    """What is said of each node from the first on, by the flavor or by the image. Raises: BadRequest."""
    said = []
    for given, key in ((specs, f"hw:{name}"), (image, f"hw_{name}")):
        found: list[str] = []
        while len(found) < _MOST_NODES and f"{key}.{len(found)}" in given:
            found.append(given[f"{key}.{len(found)}"])
        said.append(found)
    if all(said):
        raise _forbidden(f"hw_{name}")
    return said[0] or said[1]


def _cpus(text: str, count: int) -> set[int]:
    """The processors of a list such as `0-3,^1`. Raises: BadRequest."""
    found: set[int] = set()
    taken: set[int] = set()
    for part in text.split(","):
        word = part.strip()
        if not word:
            continue
        first, dash, last = word.removeprefix("^").partition("-")
        if not is_number(first) or (dash and not is_number(last)) or int(last or first) < int(first):
            raise BadRequest(f"Invalid inclusion expression '{quoted(word)}'", type="Invalid")
        if int(last or first) >= count:
            raise BadRequest(
                f"CPU number {int(last or first)} is larger than max {count - 1}", type="ImageNUMATopologyCPUOutOfRange"
            )
        (taken if word.startswith("^") else found).update(range(int(first), int(last or first) + 1))
    return found - taken


def _forbidden(name: str) -> BadRequest:
    return BadRequest(
        f"Image property '{name}' is not permitted to override NUMA configuration set against the flavor",
        type="ImageNUMATopologyForbidden",
    )
