"""The certificate that viewers are shown where no operator has given one: signed by itself, and kept.

    STATE/api/vnc.pem       for viewers: who has it knows whom they speak to
    STATE/api/vnc-key.pem   for the API alone

It is made again when the name or the address that it is for is another, or its time is nearly over. The key is written
first, so that after a crash between the two they do not fit, and both are made again.

Source: RFC 5280; RFC 9525 (names are in subjectAltName).
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deuteron.api.settings import BadOperatorFile
from deuteron.model.settings import VncOptions

CERTIFICATE: Final = "vnc.pem"
KEY: Final = "vnc-key.pem"
_LIFE: Final = datetime.timedelta(days=3650)
_SPARE: Final = datetime.timedelta(days=30)


def context(folder: Path, options: VncOptions, now: datetime.datetime | None = None) -> ssl.SSLContext:
    """What a listener speaks TLS 1.2 or newer with.

    Raises: BadOperatorFile for a certificate of an operator that cannot be used; OSError.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if options.certificate:
        try:
            made.load_cert_chain(options.certificate, options.key)
        except (OSError, ssl.SSLError) as error:
            raise BadOperatorFile(f"cannot use the certificate {options.certificate} of [vnc]: {error}") from None
        return made
    now = now or datetime.datetime.now(datetime.UTC)
    certificate, key = folder / CERTIFICATE, folder / KEY
    if not _is_good(certificate, key, options.called, now):
        _make(certificate, key, options.called, now)
    made.load_cert_chain(certificate, key)
    return made


def _is_good(certificate: Path, key: Path, name: str, now: datetime.datetime) -> bool:
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        owned = serialization.load_pem_private_key(key.read_bytes(), None)
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    fits = found.public_key() == owned.public_key() and names == _names(name)
    return fits and found.not_valid_before_utc <= now < found.not_valid_after_utc - _SPARE


def _make(certificate: Path, key: Path, name: str, now: datetime.datetime) -> None:
    owned = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Deuteron consoles")])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(owned.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + _LIFE)
        .add_extension(_names(name), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(owned, hashes.SHA256())
    )
    secret = owned.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(key, secret, 0o600)
    _write(certificate, made.public_bytes(serialization.Encoding.PEM), 0o644)


def _names(name: str) -> x509.SubjectAlternativeName:
    try:
        return x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(name))])
    except ValueError:
        return x509.SubjectAlternativeName([x509.DNSName(name)])


def _write(path: Path, data: bytes, mode: int) -> None:
    """All of it or what was there before."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
