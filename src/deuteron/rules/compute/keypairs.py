"""Key pairs: public keys by user and name, given or made here. The private half of one made here is never stored."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sqlalchemy import delete, func, insert, select

from deuteron.model.errors import BadRequest, Conflict, Forbidden, NotFound
from deuteron.rules.compute import history, quotas
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.store.compute_tables import keypairs
from deuteron.store.database import Tx


@dataclass(frozen=True)
class NewKeypair:
    """What a user asks for: a public key given, or a private one made for it by `generate`."""

    user_id: str
    name: str
    type: Literal["ssh", "x509"]
    public_key: str | None = None
    made: rsa.RSAPrivateKey | None = None


@dataclass(frozen=True)
class Made:
    """A new key pair; `private_key` is the only copy there will be, None where the public key was given."""

    name: str
    public_key: str
    fingerprint: str
    user_id: str
    private_key: str | None


def find(tx: Tx, user_id: str, name: str) -> ServerRow:
    """Raises: NotFound."""
    row = tx.first(select(keypairs).where(keypairs.c["user_id"] == user_id, keypairs.c["name"] == name))
    if row is None:
        raise NotFound(f"Keypair {name} not found for user {user_id}", type="KeypairNotFound")
    return row


def generate() -> rsa.RSAPrivateKey:
    """A key, before a transaction begins: to make one takes longer than anybody may hold the writer."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def create(tx: Tx, project_id: str, new: NewKeypair) -> Made:
    """A new key pair of the user. Raises: Conflict, Forbidden, BadRequest for a text that is no key."""
    user_id, name = new.user_id, new.name
    if tx.first(select(keypairs.c["id"]).where(keypairs.c["user_id"] == user_id, keypairs.c["name"] == name)):
        raise Conflict(f"Key pair '{name}' already exists.", type="KeyPairExists")
    used = tx.scalar(select(func.count()).select_from(keypairs).where(keypairs.c["user_id"] == user_id))
    limit = quotas.limit(tx, project_id, "key_pairs", user_id)
    if 0 <= limit <= used:
        raise Forbidden("Quota exceeded, too many key pairs.", type="KeypairLimitExceeded")
    given, private = new.public_key, None
    if given is None:
        assert new.made is not None  # one of the two is given
        given, private = _texts(new.made) if new.type == "ssh" else _certified(new.made, user_id, tx.now)
    row: dict[str, Any] = {
        "id": f"{user_id}/{name}",
        "number": (tx.scalar(select(func.max(keypairs.c["number"]))) or 0) + 1,
        "user_id": user_id,
        "name": name,
        "type": new.type,
        "public_key": given,
        "fingerprint": fingerprint(given) if new.type == "ssh" else certificate_fingerprint(given),
        "created_at": history.moment(tx.now),
    }
    tx.execute(insert(keypairs), row)
    tx.changed("keypair", row["id"])
    return Made(name, given, row["fingerprint"], user_id, private)


def remove(tx: Tx, user_id: str, name: str) -> None:
    """Raises: NotFound."""
    row = find(tx, user_id, name)
    tx.execute(delete(keypairs).where(keypairs.c["id"] == row.id))
    tx.changed("keypair", row.id, deleted=True)


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
