"""What is done to a subnet pool beside changing its attributes: prefixes come and go, subnets of a network join."""

from __future__ import annotations

from deuteron.api.call import Call, Reply
from deuteron.api.network import bodies
from deuteron.model.network.rows import SubnetPoolRow
from deuteron.rules.network import attributes, faults, pool_prefixes, sight, subnetpools
from deuteron.store.database import Tx


def add_prefixes(call: Call, tx: Tx) -> Reply:
    """PUT /subnetpools/{id}/add_prefixes: all prefixes of the pool."""
    row = _pool(call, tx, "add_prefixes")
    return Reply(
        200, {"prefixes": pool_prefixes.add_prefixes(tx, call.caller, row, _given(call, "prefixes"))["prefixes"]}
    )


def remove_prefixes(call: Call, tx: Tx) -> Reply:
    """PUT /subnetpools/{id}/remove_prefixes: those that the pool is left with."""
    row = _pool(call, tx, "remove_prefixes")
    return Reply(200, {"prefixes": pool_prefixes.remove_prefixes(tx, row, _given(call, "prefixes"))["prefixes"]})


def onboard_network_subnets(call: Call, tx: Tx) -> Reply:
    """PUT /subnetpools/{id}/onboard_network_subnets: the subnets that joined."""
    row = _pool(call, tx, "onboard_network_subnets")
    joined = pool_prefixes.onboard(tx, call.caller, row, _given(call, "network_id"))
    return Reply(200, [{"id": subnet["id"], "cidr": subnet["cidr"]} for subnet in joined])


def _given(call: Call, name: str) -> object:
    body = bodies.parse(call, name)
    attributes.refuse_others(body, (name,))
    return body.get(name)


def _pool(call: Call, tx: Tx, rule: str) -> SubnetPoolRow:
    row = sight.find_visible(tx, call.caller, subnetpools.KIND, call.params["id"])
    if not call.policy.check(call.caller, rule, sight.row_target(row)):
        # Neutron asks about an attribute of the pool as well, and says so.
        raise faults.not_authorized([rule, f"{rule}:shared"] if row["shared"] else [rule])
    return row
