"""Which profiles a flavor has: they come and go below it, by their id.

Source: neutron/db/flavors_db.py; what Neutron 29 answers, where it does not fail.
"""

from __future__ import annotations

from typing import Any

from deuteron.api.call import Call, Reply
from deuteron.api.network import bodies, rights
from deuteron.model.codecs import is_uuid, quoted
from deuteron.model.network import FLAVOR
from deuteron.model.network.rows import NetworkFlavorRow
from deuteron.rules.network import attributes, faults, flavors, sight
from deuteron.rules.network.kinds import find
from deuteron.store.database import Tx


def associate(call: Call, tx: Tx) -> Reply:
    """POST /flavors/{id}/service_profiles: the answer's id is the flavor's, as in Neutron."""
    rights.require(call, "create_flavor_service_profile")
    wanted = _profile_id(bodies.one(call, "service_profile"))
    flavor = flavors.associate(tx, _flavor(call, tx), wanted)
    return Reply(201, {"service_profile": {"id": flavor["id"]}})


def dissociate(call: Call, tx: Tx) -> Reply:
    """DELETE /flavors/{id}/service_profiles/{profile}"""
    wanted = call.params["profile"]
    flavor = find(tx, FLAVOR, call.params["id"])
    if flavor is None:
        raise flavors.not_associated(call.params["id"], wanted)
    flavors.refuse_other(flavor, wanted)
    rights.require(call, "delete_flavor_service_profile")
    flavors.dissociate(tx, flavor, wanted)
    return Reply(204)


def _flavor(call: Call, tx: Tx) -> NetworkFlavorRow:
    return sight.find_visible(tx, call.caller, flavors.KIND, call.params["id"])


def _profile_id(body: dict[str, Any]) -> str:
    attributes.refuse_others(body, ("id",))
    if "id" not in body:
        raise faults.http_bad_request("Failed to parse request. Required attribute 'id' not specified")
    wanted = body["id"]
    if not isinstance(wanted, str) or not is_uuid(wanted):
        raise faults.invalid_value("id", f"'{quoted(wanted)}' is not a valid UUID")
    return wanted
