"""Conntrack helpers of routers: which there are, and over what.

The kernel knows `amanda` over UDP alone; Neutron's default list has it over TCP, where its agent fails.

Source: neutron/services/conntrack_helper/plugin.py; neutron/conf/extensions/conntrack_helper.py
(`allowed_conntrack_helpers`); the kernel's net/netfilter/nf_conntrack_amanda.c.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, cast

from deuteron.model.caller import Caller
from deuteron.model.network import CONNTRACK_HELPER, ROUTER
from deuteron.model.network.rows import ConntrackHelperId, ConntrackHelperRow
from deuteron.model.scalars import RouterId
from deuteron.model.settings import Settings
from deuteron.rules.network import faults, routers, rule_values
from deuteron.rules.network.helped import helpers
from deuteron.rules.network.kinds import Kind, add, change, find, new_id, remove, touch
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.query import Values

_ALLOWED: Final[Mapping[str, Sequence[str]]] = {
    "amanda": ("udp",),
    "ftp": ("tcp",),
    "h323": ("udp", "tcp"),
    "irc": ("tcp",),
    "netbios-ns": ("udp",),
    "pptp": ("tcp",),
    "sane": ("tcp",),
    "sip": ("udp", "tcp"),
    "snmp": ("udp",),
    "tftp": ("udp",),
}
_SAID: Final = ("router_id", "protocol", "port", "helper")


def create_helper(tx: Tx, settings: Settings, caller: Caller, values: Values) -> ConntrackHelperRow:
    """Raises: BadRequest for a helper that there is not, or not over the protocol, or that the router has; NotFound."""
    _refuse_unknown(values["helper"], values["protocol"])
    router_id: RouterId = values["router_id"]
    if find(tx, ROUTER, router_id) is None:
        raise faults.not_found("router", router_id)
    new = cast("ConntrackHelperRow", {"id": ConntrackHelperId(new_id()), **{name: values[name] for name in _SAID}})
    _refuse_same(tx, new)
    touch(tx, ROUTER, router_id)
    return add(tx, CONNTRACK_HELPER, new)


def update_helper(
    tx: Tx, settings: Settings, caller: Caller, row: ConntrackHelperRow, values: Values
) -> ConntrackHelperRow:
    """Raises: as `create_helper`."""
    given = {name: value for name, value in values.items() if name in row}
    new = query.with_values(row, given)
    _refuse_unknown(new["helper"], new["protocol"])
    _refuse_same(tx, new)
    changed = change(tx, CONNTRACK_HELPER, row, given)
    if changed is not row:
        touch(tx, ROUTER, row["router_id"])
    return changed


def delete_helper(tx: Tx, settings: Settings, caller: Caller, row: ConntrackHelperRow) -> None:
    """Connections that are there keep what was learned of them."""
    remove(tx, CONNTRACK_HELPER, row["id"])
    touch(tx, ROUTER, row["router_id"])


def refuse_unknown(values: Mapping[str, object]) -> None:
    """Raises: BadRequest for a helper that there is not, or not over the protocol."""
    _refuse_unknown(str(values["helper"]), str(values["protocol"]))


def _refuse_unknown(helper: str, protocol: str) -> None:
    if helper not in _ALLOWED:
        raise faults.refused("ConntrackHelperNotAllowed", f"Conntrack Helper {helper} is not allowed.")
    if protocol not in _ALLOWED[helper]:
        raise faults.refused(
            "InvalidProtocolForHelper",
            f"Conntrack Helper {helper} does not support: {protocol}. Supported protocols are: "
            f"{', '.join(_ALLOWED[helper])}",
        )


def _refuse_same(tx: Tx, new: ConntrackHelperRow) -> None:
    said = {name: new[name] for name in ("router_id", "protocol", "port", "helper")}
    same = [helpers.c[name] == value for name, value in said.items()]
    if query.first(tx, helpers, *same, helpers.c.id != new["id"]) is not None:
        raise faults.bad_request(
            CONNTRACK_HELPER.name,
            "A duplicate conntrack helper entry with same attributes already exists, conflicting values are "
            f"{ {name: str(value) if name != 'port' else value for name, value in said.items()} }",
        )


KIND = Kind(
    resource=CONNTRACK_HELPER,
    create=create_helper,
    update=update_helper,
    delete=delete_helper,
    visible=lambda caller: None,
    parent=routers.KIND,
    looks_for_parent=False,
    judge=refuse_unknown,
    filters={"protocol": partial(rule_values.by_protocol, helpers.c.protocol)},
)
