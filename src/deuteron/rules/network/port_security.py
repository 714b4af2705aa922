"""What a port may send, and who may reach it: groups, address pairs, and port security that turns them on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deuteron.model.caller import Caller
from deuteron.model.network import LOCAL_IP_OWNER
from deuteron.model.network.parts import AddressPair
from deuteron.model.network.rows import PortRow
from deuteron.model.scalars import Mac, SecurityGroupId
from deuteron.rules.network import (
    faults,
    security_groups,
)
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.query import Values


def address_pairs(wanted: Sequence[Mapping[str, str]] | None, mac: Mac) -> list[AddressPair]:
    """Allowed address pairs as they are stored: with `mac`, the port's, where they say none. Raises: BadRequest."""
    result: list[AddressPair] = []
    for pair in wanted or ():
        item: AddressPair = {"mac_address": Mac(pair.get("mac_address", mac)), "ip_address": pair["ip_address"]}
        if item in result:
            raise faults.refused(
                "DuplicateAddressPairInRequest",
                f"Request contains duplicate address pair: mac_address {item['mac_address']} ip_address "
                f"{item['ip_address']}.",
            )
        result.append(item)
    return result


def groups_of_new(tx: Tx, caller: Caller | None, port: Values, values: Values) -> Sequence[SecurityGroupId]:
    """The groups of a new port: those that `values` ask for, or the project's own, which it has from its first port on.

    Raises: BadRequest, NotFound, Conflict.
    """
    # Neutron makes the port of a local IP for nobody, and gives it to the project afterwards.
    has_own = port["project_id"] and port["device_owner"] != LOCAL_IP_OWNER
    own = security_groups.default_group(tx, port["project_id"]) if has_own else None
    # A null is a list of none; the default group is for a body that does not name them.
    wanted = values["security_groups"] or [] if "security_groups" in values else None
    if not port["port_security_enabled"]:
        _refuse_unsecured(bool(wanted), bool(port["allowed_address_pairs"]))
        return []
    if wanted is not None:
        security_groups.require(tx, caller, wanted, port["project_id"])
        return list(wanted)
    return [] if own is None or port["device_owner"].startswith("network:") else [own]


def update_security(tx: Tx, caller: Caller | None, row: PortRow, new: Values) -> None:
    """The same for what an update body sets, in `new`."""
    merged = query.with_values(row, new)
    if new.get("security_groups") is None and "security_groups" in new:
        new["security_groups"] = []
    if not merged["port_security_enabled"]:
        if new.get("port_security_enabled") is False and row["security_groups"] and "security_groups" not in new:
            raise faults.conflict(
                "PortSecurityPortHasSecurityGroup",
                "Port has security group associated. Cannot disable port security or IP address until security group "
                "is removed.",
            )
        _refuse_unsecured(bool(merged["security_groups"]), bool(merged["allowed_address_pairs"]))
    elif new.get("security_groups"):
        security_groups.require(tx, caller, new["security_groups"], row["project_id"])


def _refuse_unsecured(has_groups: bool, has_pairs: bool) -> None:
    if has_groups:
        raise faults.refused(
            "PortSecurityAndIPRequiredForSecurityGroups",
            "Port security must be enabled and port must have an IP address in order to use security groups.",
        )
    if has_pairs:
        raise faults.conflict(
            "AddressPairAndPortSecurityRequired",
            "Port Security must be enabled in order to have allowed address pairs on a port.",
        )
