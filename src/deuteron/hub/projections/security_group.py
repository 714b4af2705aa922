"""Security groups with their rules, where ports use them. They need the groups that they name as remote, of ports, each
member, and of addresses; and what is logged of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Set

from sqlalchemy import select

from deuteron.hub.projections.contract import Made, Reading, Shared, Touched, pairs, rows
from deuteron.model.intent import IntentRule, IntentSecurityGroup
from deuteron.store.network_tables import security_group_rules, security_groups


def _members(reading: Reading, scopes: Collection[str]) -> Iterable[tuple[str, str]]:
    return [(id, id) for id in scopes]


def _build(reading: Reading, ids: Collection[str]) -> Iterator[Made]:
    found: dict[str, list[IntentRule]] = defaultdict(list)
    table = security_group_rules
    columns = (
        "id",
        "security_group_id",
        "direction",
        "ethertype",
        "protocol_number",
        "port_range_min",
        "port_range_max",
        "normalized_cidr",
        "remote_ip_prefix",
        "remote_group_id",
        "remote_address_group_id",
    )
    statement = select(*(table.c[name] for name in columns)).order_by(table.c["id"])
    for row in rows(reading.tx, lambda chunk: statement.where(table.c["security_group_id"].in_(chunk)), ids):
        found[row.security_group_id].append(
            IntentRule(
                id=row.id,
                direction=row.direction,
                ethertype=row.ethertype,
                protocol=row.protocol_number,
                port_range_min=row.port_range_min,
                port_range_max=row.port_range_max,
                remote_ip_prefix=row.normalized_cidr or row.remote_ip_prefix,
                remote_group_id=row.remote_group_id,
                remote_address_group_id=row.remote_address_group_id,
            )
        )
    groups = select(security_groups.c["id"], security_groups.c["stateful"])
    for row in rows(reading.tx, lambda chunk: groups.where(security_groups.c["id"].in_(chunk)), ids):
        rules = tuple(found[row.id])
        needs = [("group_member", rule.remote_group_id) for rule in rules if rule.remote_group_id is not None]
        needs += [
            ("address_group", rule.remote_address_group_id)
            for rule in rules
            if rule.remote_address_group_id is not None
        ]
        needs.append(("log", row.id))
        yield Made(
            IntentSecurityGroup(id=row.id, stateful=bool(row.stateful), rules=rules),
            rows=tuple(("security_group_rule", rule.id) for rule in rules),
            needs=tuple(dict.fromkeys(needs)),
            scope=row.id,
        )


def _dirty(touched: Touched) -> Set[str]:
    table = security_group_rules
    ruled = pairs(touched.tx, table.c["id"], table.c["security_group_id"], touched.of("security_group_rule"))
    return touched.of("security_group") | set(ruled.values())


PROJECTION = Shared("security_group", _dirty, _build, _members)
