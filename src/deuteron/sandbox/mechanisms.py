"""Which mechanisms a host runs: those that the cloud asks, or what the host's own table says of them."""

from __future__ import annotations

from collections.abc import Sequence

from deuteron.model.intent import LINUX_BRIDGE, MECHANISM

from .errors import TopologyError


def mechanisms_of(
    host: str, groups: Sequence[str], own: Sequence[str] | None, asked: Sequence[str], source: str
) -> tuple[str, ...]:
    """The mechanisms of a host, in the order in which they are asked; `own` is what its table says. Hosts
    that wire nothing run what they like.

    Raises: TopologyError for one that the cloud does not ask, and for two that take the same interfaces.
    """
    chosen = asked if own is None else own
    for mechanism in chosen:
        if mechanism not in asked:
            raise TopologyError(
                f'host "{host}" of {source} cannot run mechanism "{mechanism}": the cloud asks '
                f"{', '.join(asked) or 'none'}",
                f'add it to mechanism_drivers at the top of the file: mechanism_drivers = ["{mechanism}"]',
            )
    runs = tuple(mechanism for mechanism in asked if mechanism in chosen)
    if {"network", "compute"}.isdisjoint(groups):
        return runs
    if MECHANISM in runs and LINUX_BRIDGE in runs:
        raise TopologyError(
            f'host "{host}" of {source} cannot run both "{MECHANISM}" and "{LINUX_BRIDGE}": each takes its interfaces',
            f'say which under [hosts.{host}]: mechanism_drivers = ["{MECHANISM}"]',
        )
    return runs
