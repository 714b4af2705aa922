"""Compute hosts as providers: what an agent says of its machine becomes the inventory of a provider with its id.

What an operator set through the API stays, as in Nova: the ratio and what is reserved of an inventory, traits and
aggregates. A provider or an inventory that somebody deleted is there again once the host says hello.

Source: nova/virt/libvirt/driver.py `update_provider_tree`; nova.conf cpu_allocation_ratio, ram_allocation_ratio,
disk_allocation_ratio and reserved_host_memory_mb, as of Queens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from sqlalchemy import select

from deuteron.model.intent import Hello
from deuteron.rules.placement import inventories, names, providers, search
from deuteron.rules.placement.inventories import Inventory, Kept
from deuteron.store import placement_tables
from deuteron.store.database import Tx
from deuteron.store.prepared import Prepared

VCPU, MEMORY, DISK = "VCPU", "MEMORY_MB", "DISK_GB"
RESERVED_MIB: Final = 512
_FIRST: Final = {
    VCPU: Inventory(1, allocation_ratio=16.0),
    MEMORY: Inventory(1, reserved=RESERVED_MIB, allocation_ratio=1.5),
    DISK: Inventory(1, allocation_ratio=1.0),
}
"""Of a host that is new."""
_STOCK: Final = Prepared(select(placement_tables.inventories))
TRAITS: Final = ("COMPUTE_IMAGE_TYPE_QCOW2", "COMPUTE_IMAGE_TYPE_RAW", "COMPUTE_NODE")
"""What every compute host can."""


def report(tx: Tx, host_id: str, hello: Hello) -> None:
    """The host is there, with what it says that it has."""
    if "compute" not in hello.roles:
        return
    if providers.look(tx, host_id) is None:
        # A client may have given the name to something else: the host is there all the same, by its id.
        is_taken = bool(search.matching(tx, search.Filters(name=hello.host)))
        providers.create(tx, host_id, host_id if is_taken else hello.host, None)
        providers.set_traits(tx, host_id, TRAITS)
    had = {name: kept.inventory for name, kept in inventories.of(tx, host_id).items()}
    has = {VCPU: hello.vcpus, MEMORY: hello.memory_mib, DISK: hello.disk_gib}
    wanted = {**had}
    for name, total in has.items():
        if total > 0:
            inventory = had.get(name, _FIRST[name])
            wanted[name] = replace(inventory, total=total, reserved=min(inventory.reserved, total))
    if wanted != had:
        inventories.replace(tx, host_id, wanted)


def remove(tx: Tx, host_id: str) -> None:
    """The host has left. Raises: Conflict while anything is taken of it."""
    if providers.look(tx, host_id) is not None:
        providers.remove(tx, host_id)


def stock(tx: Tx) -> dict[str, dict[str, Kept]]:
    """The inventories of all providers, with what is taken of them; in one query."""
    found: dict[str, dict[str, Kept]] = {}
    for row in tx.run(_STOCK):
        found.setdefault(row[0], {})[row[1]] = inventories.kept(row)
    return found


def disable(tx: Tx, host_id: str, *, disabled: bool) -> None:
    """Say of the host whether it takes new servers."""
    if providers.look(tx, host_id) is not None:
        traits = {*providers.traits_of(tx, host_id)} - {names.DISABLED}
        providers.set_traits(tx, host_id, traits | {names.DISABLED} if disabled else traits)


def needs(sizes: Mapping[str, int]) -> dict[str, int]:
    """What a server of these sizes takes: classes of which it takes nothing are left out."""
    return {name: amount for name, amount in sizes.items() if amount}
