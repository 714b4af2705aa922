"""How a guest's processors are told to it: as sockets, cores and threads that a flavor prefers and an image bounds.

Source: nova/virt/hardware.py `get_cpu_topology_constraints`, `get_best_cpu_topology`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from deuteron.model.codecs import quoted
from deuteron.model.compute import Flavor
from deuteron.model.errors import BadRequest
from deuteron.model.hardware import Processors
from deuteron.rules.compute.image_properties import is_number

_UNBOUNDED: Final = 65536
_PARTS: Final = ("sockets", "cores", "threads")
MOST: Final = 4096
"""Processors of which anything is worked out: no host has more to give."""


def topology(flavor: Flavor, image: Mapping[str, str]) -> Processors | str | None:
    """The best of those that there are, or why there is none; None where nobody asks. Raises: BadRequest."""
    specs = flavor.extra_specs
    flavor_most = _triple({name.removeprefix("hw:"): value for name, value in specs.items()}, "cpu_max_")
    image_most = _triple({name.removeprefix("hw_"): value for name, value in image.items()}, "cpu_max_")
    if any(0 < has < asks for has, asks in zip(flavor_most, image_most, strict=True)):
        raise BadRequest(
            f"Image vCPU topology limits {_said(image_most)} exceeds the limits of the flavor {_said(flavor_most)}",
            type="ImageVCPULimitsRangeExceeded",
        )
    most = tuple(ours or theirs or _UNBOUNDED for ours, theirs in zip(image_most, flavor_most, strict=True))
    flavors = _triple({name.removeprefix("hw:"): value for name, value in specs.items()}, "cpu_")
    images = _triple({name.removeprefix("hw_"): value for name, value in image.items()}, "cpu_")
    if any(asked > bound for asked, bound in zip(flavors, most, strict=True)):
        flavors = (0, 0, 0)
    if any(asked > bound for asked, bound in zip(images, most, strict=True)):
        raise BadRequest(
            f"Image vCPU topology {_said(images)} exceeds the limits of the flavor or image {_said(most)}",
            type="ImageVCPUTopologyRangeExceeded",
        )
    wanted = images if any(images) else flavors
    if not any(wanted) and not any(image_most) and not any(flavor_most):
        return None
    if flavor.vcpus > MOST:
        return None
    found = [each for each in _possible(flavor.vcpus) if all(a <= b for a, b in zip(each, most, strict=True))]
    if not found:
        limits = ":".join(str(min(flavor.vcpus, each)) for each in most)
        return f"Requested vCPU limits {limits} are impossible to satisfy for vcpus count {flavor.vcpus}"
    # As many sockets and cores as can be, then sockets; and before all that what is most like the wish.
    found.sort(key=lambda each: (_likeness(each, wanted), each[0] * each[1], each[0], each[2]), reverse=True)
    return Processors(*found[0])


def _triple(named: Mapping[str, str], prefix: str) -> tuple[int, ...]:
    """Raises: BadRequest."""
    given = []
    for part in _PARTS:
        value = named.get(prefix + part, "0")
        if not is_number(value):
            raise BadRequest(
                f"Invalid flavor extra spec. Error: invalid literal for int() with base 10: '{quoted(value)}'",
                type="InvalidRequest",
            )
        given.append(int(value))
    return tuple(given)


def _possible(count: int) -> Iterator[tuple[int, int, int]]:
    for sockets in _divisors(count):
        for cores in _divisors(count // sockets):
            yield sockets, cores, count // sockets // cores


def _divisors(number: int) -> Iterator[int]:
    return (each for each in range(1, number + 1) if number % each == 0)


def _likeness(found: tuple[int, int, int], wanted: tuple[int, ...]) -> int:
    return sum(has == asked for has, asked in zip(found, wanted, strict=True) if asked > 0)


def _said(triple: tuple[int, ...]) -> str:
    return "(" + ", ".join(f"{part}={number}" for part, number in zip(_PARTS, triple, strict=True)) + ")"
