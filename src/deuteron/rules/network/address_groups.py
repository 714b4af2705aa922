"""Address groups: prefixes come and go one by one, and a group stays while a rule names it.

Source: neutron/db/address_group_db.py, neutron/objects/address_group.py.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from sqlalchemy import select

from deuteron.model.caller import Caller
from deuteron.model.codecs import quoted
from deuteron.model.network import ADDRESS_GROUP, DEFAULT_SECURITY_GROUP_RULE, MAX_GROUP_ADDRESSES
from deuteron.model.network.rows import AddressGroupRow
from deuteron.model.settings import Settings
from deuteron.rules.network import faults, quotas, rbac, sight
from deuteron.rules.network.kinds import Kind, add, change, remove
from deuteron.store.database import Tx
from deuteron.store.network_tables import security_group_rules, table_of
from deuteron.store.query import Values

_groups = table_of(ADDRESS_GROUP)


def create_group(tx: Tx, settings: Settings, caller: Caller, values: Values) -> AddressGroupRow:
    """Raises: Conflict for more groups than a project may have rules that could name them."""
    quotas.check(tx, "address_group", values["project_id"])
    # In Neutron the addresses are a second write.
    return add(tx, ADDRESS_GROUP, {**values, "shared": False, "revision_number": int(bool(values["addresses"]))})


def update_group(tx: Tx, settings: Settings, caller: Caller, row: AddressGroupRow, values: Values) -> AddressGroupRow:
    """Its name and description."""
    return change(tx, ADDRESS_GROUP, row, values)


def change_addresses(tx: Tx, row: AddressGroupRow, raw: Any, *, adding: bool) -> AddressGroupRow:
    """The group with the addresses added or removed, all or none.

    Raises: BadRequest for what is no list of addresses, and for one that is there already; NotFound for one that is
    not there.
    """
    wanted = _addresses(raw)
    here = row["addresses"]
    if adding:
        known = set(here)
        if twice := [address for address in wanted if address in known]:
            raise faults.refused(
                "AddressesAlreadyExist", f"Addresses {twice} already exist in the address group {row['id']}."
            )
        if len(here) + len(wanted) > MAX_GROUP_ADDRESSES:
            raise faults.http_bad_request(
                f"Invalid input for addresses. Reason: with these {len(wanted)} the group would hold "
                f"{len(here) + len(wanted)} addresses, at most {MAX_GROUP_ADDRESSES} are accepted"
            )
        return change(tx, ADDRESS_GROUP, row, {"addresses": [*here, *wanted]})
    if missing := [address for address in wanted if address not in here]:
        raise faults.missing("AddressesNotFound", f"Addresses {missing} not found in the address group {row['id']}.")
    return change(tx, ADDRESS_GROUP, row, {"addresses": [address for address in here if address not in wanted]})


def delete_group(tx: Tx, settings: Settings, caller: Caller, row: AddressGroupRow) -> None:
    """Raises: Conflict while a rule names it, or a template of rules."""
    for rules in (security_group_rules, table_of(DEFAULT_SECURITY_GROUP_RULE)):
        if tx.first(select(rules.c.id).where(rules.c.remote_address_group_id == row["id"]).limit(1)) is not None:
            raise faults.conflict(
                "AddressGroupInUse", f"Address group {row['id']} is in use on one or more security group rules."
            )
    rbac.forget(tx, row["id"])
    remove(tx, ADDRESS_GROUP, row["id"])


def _addresses(raw: Any) -> dict[str, None]:
    """Prefixes without host bits, none twice; an address alone is a prefix. Raises: BadRequest."""
    if not isinstance(raw, list):
        raise faults.invalid_value("addresses", f"'{quoted(raw)}' is not a list")
    if len(raw) > MAX_GROUP_ADDRESSES:
        raise faults.invalid_value(
            "addresses", f"the list holds {len(raw)} items, at most {MAX_GROUP_ADDRESSES} are accepted"
        )
    found: dict[str, None] = {}
    for item in raw:
        try:
            if not isinstance(item, str):
                raise ValueError
            found[str(ipaddress.ip_network(item, strict=False))] = None
        except ValueError:
            raise faults.refused("AddrFormatError", f"invalid IPNetwork {quoted(item)}") from None
    return found


KIND = Kind(
    resource=ADDRESS_GROUP,
    create=create_group,
    update=update_group,
    delete=delete_group,
    visible=sight.own_or_shared(_groups),
    seen_as=sight.as_shared,
)
