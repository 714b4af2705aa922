"""Key pairs: public keys by user and name, given or made here. The private half of one made here is never stored."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import delete, func, insert, select

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access, history, paging, quotas
from deuteron.api.compute.bodies import wrapped
from deuteron.api.compute.lifecycle import ServerRow
from deuteron.api.compute.versions import only_from
from deuteron.model.errors import BadRequest, Conflict, Forbidden, NotFound
from deuteron.store.compute_tables import keypairs
from deuteron.store.database import Tx


def find(tx: Tx, user_id: str, name: str) -> ServerRow:
    """Raises: NotFound."""
    row = tx.first(select(keypairs).where(keypairs.c["user_id"] == user_id, keypairs.c["name"] == name))
    if row is None:
        raise NotFound(f"Keypair {name} not found for user {user_id}", type="KeypairNotFound")
    return row


def list_all(call: Call, tx: Tx) -> Reply:
    user_id = _user(call, "index")
    statement = select(keypairs).where(keypairs.c["user_id"] == user_id).order_by(keypairs.c["name"])
    rows = [_Named(row.name, row) for row in tx.all(statement)]
    links: dict[str, Any] = {}
    shown = rows
    if call.version >= 35:
        found, links = paging.page(call, rows, "keypairs", "keypairs")
        shown = list(found)
    return Reply(200, {"keypairs": [{"keypair": _brief(call, item.row)} for item in shown], **links})


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


def create(call: Call, tx: Tx) -> Reply:
    body = wrapped(call, "keypair")
    allowed = ["public_key"]
    allowed += ["type"] if call.version >= 2 else []
    allowed += ["user_id"] if call.version >= 10 else []
    body.only(allowed, ("name",) if call.version < 92 else ("name", "public_key"))
    name = body.name()
    if call.version < 92 and not re.fullmatch(r"[\w \-]+", name, re.ASCII):
        raise BadRequest("Keypair data is invalid: Keypair name contains unsafe characters", type="InvalidKeypair")
    kind = body.choice("type", ("ssh", "x509"), "ssh")
    if kind == "x509":
        raise BadRequest("Keypair data is invalid: this cloud keeps keys of type ssh only", type="InvalidKeypair")
    user_id = str(body.raw.get("user_id") or call.caller.user_id)
    access.require(call, "os-keypairs:create", user_id=user_id)
    if tx.first(select(keypairs.c["id"]).where(keypairs.c["user_id"] == user_id, keypairs.c["name"] == name)):
        raise Conflict(f"Key pair '{name}' already exists.", type="KeyPairExists")
    used = tx.scalar(select(func.count()).select_from(keypairs).where(keypairs.c["user_id"] == user_id))
    limit = quotas.limit(tx, call.caller.project_id or "", "key_pairs")
    if 0 <= limit <= used:
        raise Forbidden("Quota exceeded, too many key pairs.", type="KeypairLimitExceeded")
    given = body.text("public_key", least=1, most=16384)
    private = None
    if given is None:
        given, private = _generate(name)
    row: dict[str, Any] = {
        "id": f"{user_id}/{name}",
        "number": (tx.scalar(select(func.max(keypairs.c["number"]))) or 0) + 1,
        "user_id": user_id,
        "name": name,
        "type": "ssh",
        "public_key": given,
        "fingerprint": fingerprint(given),
        "created_at": history.moment(tx.now),
    }
    tx.execute(insert(keypairs), row)
    tx.changed("keypair", f"{user_id}/{name}")
    shown = {key: row[key] for key in ("name", "public_key", "fingerprint", "user_id")}
    if call.version >= 2:
        shown["type"] = "ssh"
    if private is not None:
        shown["private_key"] = private
    return Reply(201 if call.version >= 2 else 200, {"keypair": shown})


def remove(call: Call, tx: Tx) -> Reply:
    row = find(tx, _user(call, "delete"), call.params["name"])
    tx.execute(delete(keypairs).where(keypairs.c["id"] == row.id))
    tx.changed("keypair", row.id, deleted=True)
    return Reply(204 if call.version >= 2 else 202)


def fingerprint(public_key: str) -> str:
    """MD5 of the key's body in hexadecimal pairs, as Nova and `ssh-keygen -E md5` show it. Raises: BadRequest."""
    try:
        serialization.load_ssh_public_key(public_key.strip().encode())
        body = base64.b64decode(public_key.split()[1], validate=True)
    except (ValueError, IndexError, UnsupportedAlgorithm, binascii.Error, UnicodeEncodeError):
        raise BadRequest("Keypair data is invalid: failed to generate fingerprint", type="InvalidKeypair") from None
    digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
    return ":".join(digest[at : at + 2] for at in range(0, 32, 2))


class _Named:
    """A key pair whose paging marker is its name."""

    def __init__(self, id: str, row: ServerRow) -> None:
        self.id = id
        self.row = row


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


def _generate(name: str) -> tuple[str, str]:
    """A new RSA key: public line and private text, in the forms that every ssh client reads."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return f"{public.decode()} Generated-by-Nova", private.decode()
