"""Key pairs as requests ask for them: of the caller, or from 2.10 on of another user."""

from __future__ import annotations

import re
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access, paging, shapes
from deuteron.api.compute.bodies import wrapped
from deuteron.api.compute.versions import only_from
from deuteron.model.errors import BadRequest
from deuteron.rules.compute import keypairs
from deuteron.rules.compute.keypairs import NewKeypair, find
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.store.compute_tables import keypairs as table
from deuteron.store.database import Tx
from deuteron.store.listing import Listing
from deuteron.store.query import Order


def list_all(call: Call, tx: Tx) -> Reply:
    mine = [table.c["user_id"] == _user(call, "index")]
    mine_by_name = Listing(table, mine, [Order("name")], marker="name")
    rows, links = paging.page(call, tx, mine_by_name, "keypairs", "keypairs", is_paged=call.version >= 35)
    return Reply(200, {"keypairs": [{"keypair": _brief(call, row)} for row in rows], **links})


def show(call: Call, tx: Tx) -> Reply:
    row = find(tx, _user(call, "show"), call.params["name"])
    shown = {
        **_brief(call, row),
        "created_at": row.created_at,
        "deleted": False,
        "deleted_at": None,
        "updated_at": None,
        "id": row.number,
        "user_id": row.user_id,
    }
    return Reply(200, {"keypair": shown})


def prepare(call: Call) -> rsa.RSAPrivateKey | None:
    """The key that a create request will need."""
    body = wrapped(call, "keypair").raw
    if body.get("public_key") is not None or call.version >= 92:
        return None
    return keypairs.generate()


def create(call: Call, tx: Tx) -> Reply:
    body = shapes.check(wrapped(call, "keypair"), shapes.KEYPAIR, call.version)
    name = body.name()
    allowed = r"[\w \-]+" if call.version < 92 else r"[\w \-@.]+"
    if not re.fullmatch(allowed, name, re.ASCII):
        raise BadRequest("Keypair data is invalid: Keypair name contains unsafe characters", type="InvalidKeypair")
    kind = body.choice("type", ("ssh", "x509"), "ssh")
    user_id = str(body.raw.get("user_id") or call.caller.user_id)
    access.require(call, "os-keypairs:create", user_id=user_id)
    given = body.text("public_key", most=16384)
    new = NewKeypair(user_id, name, "x509" if kind == "x509" else "ssh", given, call.given)
    made = keypairs.create(tx, call.caller.project_id or "", new)
    shown: dict[str, Any] = {
        "name": made.name,
        "public_key": made.public_key,
        "fingerprint": made.fingerprint,
        "user_id": made.user_id,
    }
    if call.version >= 2:
        shown["type"] = kind
    if made.private_key is not None:
        shown["private_key"] = made.private_key
    return Reply(201 if call.version >= 2 else 200, {"keypair": shown})


def remove(call: Call, tx: Tx) -> Reply:
    keypairs.remove(tx, _user(call, "delete"), call.params["name"])
    return Reply(204 if call.version >= 2 else 202)


def _user(call: Call, action: str) -> str:
    user_id = call.get("user_id")
    if user_id is not None:
        only_from(call, 10)
    wanted = user_id or call.caller.user_id
    access.require(call, f"os-keypairs:{action}", user_id=wanted)
    return wanted


def _brief(call: Call, row: ServerRow) -> dict[str, Any]:
    shown = {"name": row.name, "public_key": row.public_key, "fingerprint": row.fingerprint}
    return {**shown, "type": row.type} if call.version >= 2 else shown
