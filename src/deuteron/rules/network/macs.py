"""MACs of ports: one on a network for each."""

from __future__ import annotations

import secrets

from sqlalchemy import bindparam, select

from deuteron.model.network.rows import PortRow
from deuteron.model.scalars import Mac, NetworkId
from deuteron.rules.network import faults
from deuteron.store.database import Tx
from deuteron.store.network_tables import ports as table
from deuteron.store.prepared import Prepared

PREFIX = "fa:16:3e"
"""Source: neutron/conf/common.py, `base_mac`."""

_MAC_IN_USE = Prepared(
    select(table.c.id)
    .where(table.c.network_id == bindparam("network"), table.c.mac_address == bindparam("mac"))
    .limit(1)
)


def free(tx: Tx, network_id: NetworkId, wanted: Mac | None) -> Mac:
    """The MAC that is wanted, or one that nobody on the network has. Raises: Conflict."""
    if wanted is not None:
        if tx.run(_MAC_IN_USE, {"network": network_id, "mac": wanted}).first() is not None:
            raise taken(network_id, wanted)
        return wanted
    while True:
        tail = secrets.token_hex(3)
        mac = Mac(f"{PREFIX}:{tail[:2]}:{tail[2:4]}:{tail[4:]}")
        if tx.run(_MAC_IN_USE, {"network": network_id, "mac": mac}).first() is None:
            return mac


def refuse_change(row: PortRow, wanted: Mac, owner: str | None) -> None:
    """Raises: Conflict for a port that is bound, and for one whose `owner` will be of the cloud; None is not asked."""
    if row["binding:vif_type"] not in ("unbound", "binding_failed"):
        raise faults.conflict(
            "PortBound",
            f"Unable to complete operation on port {row['id']}, port is already bound, "
            f"port type: {row['binding:vif_type']}, old_mac {row['mac_address']}, new_mac {wanted}.",
        )
    if owner is not None and owner.startswith("network:"):
        raise faults.conflict(
            "UnsupportedPortDeviceOwner",
            f"Operation mac address update is not supported for device_owner {owner} on port {row['id']}.",
        )


def taken(network_id: NetworkId, mac: Mac) -> Exception:
    """What is said of one that another port of the network has."""
    return faults.conflict(
        "MacAddressInUse",
        f"Unable to complete operation for network {network_id}. The mac address {mac} is in use.",
    )
