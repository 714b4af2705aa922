"""Key pairs: public keys by user and name, given or made here. The private half of one made here is never stored."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sqlalchemy import delete, func, insert, select

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access, paging, shapes
from deuteron.api.compute.bodies import wrapped
from deuteron.api.compute.versions import only_from
from deuteron.model.errors import BadRequest, Conflict, Forbidden, NotFound
from deuteron.rules.compute import history, quotas
from deuteron.rules.compute.lifecycle import ServerRow
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


def prepare(call: Call) -> rsa.RSAPrivateKey | None:
    """The key that a create request will need: to make one takes longer than anybody may hold the writer."""
    body = wrapped(call, "keypair").raw
    if body.get("public_key") is not None or call.version >= 92:
        return None
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def create(call: Call, tx: Tx) -> Reply:
    body = shapes.check(wrapped(call, "keypair"), shapes.KEYPAIR, call.version)
    name = body.name()
    allowed = r"[\w \-]+" if call.version < 92 else r"[\w \-@.]+"
    if not re.fullmatch(allowed, name, re.ASCII):
        raise BadRequest("Keypair data is invalid: Keypair name contains unsafe characters", type="InvalidKeypair")
    kind = body.choice("type", ("ssh", "x509"), "ssh")
    user_id = str(body.raw.get("user_id") or call.caller.user_id)
    access.require(call, "os-keypairs:create", user_id=user_id)
    if tx.first(select(keypairs.c["id"]).where(keypairs.c["user_id"] == user_id, keypairs.c["name"] == name)):
        raise Conflict(f"Key pair '{name}' already exists.", type="KeyPairExists")
    used = tx.scalar(select(func.count()).select_from(keypairs).where(keypairs.c["user_id"] == user_id))
    limit = quotas.limit(tx, call.caller.project_id or "", "key_pairs")
    if 0 <= limit <= used:
        raise Forbidden("Quota exceeded, too many key pairs.", type="KeypairLimitExceeded")
    given = body.text("public_key", most=16384)
    private = None
    if given is None:
        key = call.given
        given, private = _texts(key) if kind == "ssh" else _certified(key, user_id, tx.now)
    row: dict[str, Any] = {
        "id": f"{user_id}/{name}",
        "number": (tx.scalar(select(func.max(keypairs.c["number"]))) or 0) + 1,
        "user_id": user_id,
        "name": name,
        "type": kind,
        "public_key": given,
        "fingerprint": fingerprint(given) if kind == "ssh" else certificate_fingerprint(given),
        "created_at": history.moment(tx.now),
    }
    tx.execute(insert(keypairs), row)
    tx.changed("keypair", f"{user_id}/{name}")
    shown = {key: row[key] for key in ("name", "public_key", "fingerprint", "user_id")}
    if call.version >= 2:
        shown["type"] = kind
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


def certificate_fingerprint(certificate: str) -> str:
    """SHA-1 of an X.509 certificate in PEM, in hexadecimal pairs, as Nova shows it. Raises: BadRequest."""
    try:
        digest = x509.load_pem_x509_certificate(certificate.encode()).fingerprint(hashes.SHA1()).hex()
    except (ValueError, UnicodeEncodeError, UnsupportedAlgorithm) as error:
        raise BadRequest(
            f"Keypair data is invalid: failed to generate X509 fingerprint. Error message: {error}",
            type="InvalidKeypair",
        ) from None
    return ":".join(digest[at : at + 2] for at in range(0, 40, 2))


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


def _texts(key: rsa.RSAPrivateKey) -> tuple[str, str]:
    """Public line and private text of a key, in the forms that every ssh client reads."""
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return f"{public.decode()} Generated-by-Nova", private.decode()


_PRINCIPAL: Final = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
"""The user's name as Windows looks for it. Source: nova/crypto.py `_create_x509_openssl_config`."""


def _certified(key: rsa.RSAPrivateKey, user_id: str, now: datetime) -> tuple[str, str]:
    """A certificate of the user in PEM, for ten years, and it with its key as PKCS 12 in base64.

    Source: nova/crypto.py `generate_winrm_x509_cert`.
    """
    # A common name has at most 64 characters (RFC 5280 appendix A.1); ids of users are shorter.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user_id[:64])])
    text = f"{user_id[:64]}@localhost".encode()
    principal = x509.OtherName(_PRINCIPAL, bytes((0x0C, len(text))) + text)  # DER: UTF8String
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([principal]), critical=False)
        .sign(key, hashes.SHA256())
    )
    both = pkcs12.serialize_key_and_certificates(None, key, certificate, None, serialization.NoEncryption())
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), base64.b64encode(both).decode()
