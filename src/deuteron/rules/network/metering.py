"""Metering labels and their rules: what may be said, and which routers count for which label.

A label is for the routers of its project; a shared one for all. A rule belongs to who owns its label.

Source: neutron/services/metering/metering_plugin.py, neutron/db/metering/metering_db.py.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sqlalchemy import or_, select

from deuteron.model.caller import Caller
from deuteron.model.network import METERING_LABEL, METERING_LABEL_RULE
from deuteron.model.network.rows import MeteringLabelId, MeteringLabelRow, MeteringLabelRuleRow
from deuteron.model.scalars import RouterId
from deuteron.model.settings import Settings
from deuteron.rules.network import faults, sight
from deuteron.rules.network.kinds import Kind, add, remove
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import routers, table_of
from deuteron.store.query import Values

_labels = table_of(METERING_LABEL)
_rules = table_of(METERING_LABEL_RULE)
_PREFIXES: Final = ("remote_ip_prefix", "source_ip_prefix", "destination_ip_prefix")


def create_label(tx: Tx, settings: Settings, caller: Caller, values: Values) -> MeteringLabelRow:
    """A label without rules."""
    return add(tx, METERING_LABEL, values)


def delete_label(tx: Tx, settings: Settings, caller: Caller, row: MeteringLabelRow) -> None:
    """With its rules."""
    for rule_id in tx.scalars(select(_rules.c.id).where(_rules.c.metering_label_id == row["id"])):
        remove(tx, METERING_LABEL_RULE, rule_id)
    remove(tx, METERING_LABEL, row["id"])


def create_rule(tx: Tx, settings: Settings, caller: Caller, values: Values) -> MeteringLabelRuleRow:
    """Raises: BadRequest for prefixes that say nothing, or not together; NotFound; Conflict for one that overlaps."""
    _refuse_prefixes(values)
    label = sight.find_visible(tx, caller, KIND, values["metering_label_id"])
    _refuse_overlap(tx, values)
    row = add(tx, METERING_LABEL_RULE, {**values, "project_id": label["project_id"]})
    tx.changed(METERING_LABEL.name, label["id"])
    return row


def delete_rule(tx: Tx, settings: Settings, caller: Caller, row: MeteringLabelRuleRow) -> None:
    """Packets are no longer counted by it; what was counted stays."""
    remove(tx, METERING_LABEL_RULE, row["id"])
    tx.changed(METERING_LABEL.name, row["metering_label_id"])


def labels_of(tx: Tx, project_ids: Collection[str]) -> Sequence[MeteringLabelRow]:
    """Those that routers of the projects count for, in order of id."""
    theirs = or_(_labels.c.shared, query.any_of(_labels.c.project_id, list(project_ids)))
    return query.rows(tx, _labels, theirs, order_by=(_labels.c.id,))


def rules_of(tx: Tx, label_ids: Collection[MeteringLabelId]) -> Sequence[MeteringLabelRuleRow]:
    """The rules of the labels, in order of id."""
    of_labels = query.any_of(_rules.c.metering_label_id, list(label_ids))
    return query.rows(tx, _rules, of_labels, order_by=(_rules.c.id,))


def routers_of(tx: Tx, label_ids: Collection[str]) -> set[RouterId]:
    """The routers that count for those of the labels that are there."""
    found = list(tx.all(select(_labels.c.project_id, _labels.c.shared).where(query.any_of(_labels.c.id, [*label_ids]))))
    if not found:
        return set()
    statement = select(routers.c.id)
    if not any(shared for _, shared in found):
        statement = statement.where(query.any_of(routers.c.project_id, sorted({project for project, _ in found})))
    return set(tx.scalars(statement))


def _refuse_prefixes(values: Values) -> None:
    remote, source, destination = (values.get(name) for name in _PREFIXES)
    if remote and (source or destination):
        raise faults.refused(
            "Invalid",
            "Cannot use 'remote-ip-prefix' in conjunction with 'source-ip-prefix' or 'destination-ip-prefix'.",
        )
    if not (remote or source or destination):
        raise faults.refused(
            "Invalid",
            "You must define at least one of the following parameters 'remote_ip_prefix', or 'source_ip_prefix' or "
            "'destination_ip_prefix'.",
        )
    if source and destination and _version(source) != _version(destination):
        raise faults.refused(
            "Invalid",
            f"No packet is from {source} and goes to {destination}: source_ip_prefix and destination_ip_prefix are of "
            "one IP version.",
        )


def _version(prefix: str) -> int:
    return ipaddress.ip_interface(prefix).version


def _refuse_overlap(tx: Tx, values: Mapping[str, str]) -> None:
    remote = values.get("remote_ip_prefix")
    if not remote:
        return
    wanted = ipaddress.ip_interface(remote).network
    same = [_rules.c[name] == values[name] for name in ("metering_label_id", "direction", "excluded")]
    for other in tx.scalars(select(_rules.c.remote_ip_prefix).where(*same, _rules.c.remote_ip_prefix.is_not(None))):
        if wanted.overlaps(ipaddress.ip_interface(other).network):
            raise faults.conflict(
                "MeteringLabelRuleOverlaps",
                f"Metering label rule with remote_ip_prefix '{remote}' overlaps another.",
            )


KIND = Kind(
    resource=METERING_LABEL,
    create=create_label,
    update=None,
    delete=delete_label,
    visible=sight.own(_labels.c.project_id),
)
RULE_KIND = Kind(
    resource=METERING_LABEL_RULE,
    create=create_rule,
    update=None,
    delete=delete_rule,
    visible=sight.own(_rules.c.project_id),
)
