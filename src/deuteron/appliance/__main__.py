"""`python -m deuteron.appliance`: the simulator, until it is told to end.

    STATE/appliance.json     what there is        STATE/pool-NAME/     data of LUNs
    STATE/tls.pem            its own certificate, made at the first start
    STATE/lock               held while it runs: two of them do not share a folder
    STATE/trouble.json       for tests (`trouble`)

It says `ready` with its addresses as one line of JSON on standard output when it can be asked.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import secrets
import shutil
import signal
import ssl
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from deuteron.model import logs

from . import document as documents
from .document import Document
from .iscsi import Portal
from .objects import Appliance
from .rest import RestServer, Routes, Sessions
from .san import San
from .trouble import Troubles


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    # Standard output is for who waits until it is ready, and may be read no further.
    logs.configure(sys.stderr, debug=False)
    state: Path = options.state
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    held = (state / "lock").open("w")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"an appliance runs with {state} already", file=sys.stderr)
        return 1
    try:
        password = options.password_file.read_text().strip()
    except OSError as error:
        print(f"cannot read the password: {error}", file=sys.stderr)
        return 1
    if not password:
        print(f"cannot start: {options.password_file} is empty", file=sys.stderr)
        return 1
    os.umask(0o077)
    document = documents.load(state / "appliance.json")
    if document is None:
        document = Document(asn=f"{secrets.token_hex(4)}-deuteron-simulator", pools=[])
    document.pools = list(dict.fromkeys([*document.pools, *(options.pool or ["default"])]))
    document.pool_bytes = document.pool_bytes or shutil.disk_usage(state).free
    size = options.pool_size_gib << 30 if options.pool_size_gib else document.pool_bytes
    appliance = Appliance(state, document, size, options.name)
    san = San(appliance, tuple(options.interface or ["e1000g0"]))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    tls.load_cert_chain(_certificate(state / "tls.pem", options.name))
    try:
        portal = Portal((options.address, options.portal_port), san)
        sessions = Sessions(options.user, password, options.session_s)
        troubles = Troubles(state / "trouble.json")
        rest = RestServer((options.address, options.port), tls, Routes(appliance, san), sessions, troubles)
    except OSError as error:
        print(f"cannot listen at {options.address}: {error}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    threading.Thread(target=portal.serve_forever, name="portal", daemon=True).start()
    ready = {"event": "ready", "rest": rest.server_address[1], "portal": portal.address[1]}
    print(json.dumps(ready), flush=True)
    rest.serve_forever()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deuteron.appliance", description="A ZFS Storage Appliance.")
    parser.add_argument("--state", type=Path, required=True, help="folder for all that it keeps")
    parser.add_argument("--address", default="127.0.0.1", help="where REST and iSCSI listen (default: %(default)s)")
    parser.add_argument("--port", type=int, default=215, help="of REST (default: %(default)s)")
    parser.add_argument("--portal-port", type=int, default=3260, help="of iSCSI (default: %(default)s)")
    parser.add_argument("--user", default="root", help="who may use REST (default: %(default)s)")
    parser.add_argument("--password-file", type=Path, required=True, help="the user's password")
    parser.add_argument("--pool", action="append", help="a pool; may be given again (default: default)")
    parser.add_argument("--pool-size-gib", type=int, help="of each pool (default: what is free at the first start)")
    parser.add_argument("--interface", action="append", help="of targets; may be given again (default: e1000g0)")
    parser.add_argument("--name", default="zfssa", help="the appliance's own name (default: %(default)s)")
    parser.add_argument("--session-s", type=float, default=900.0, help="an idle session ends (default: %(default)s)")
    return parser


def _certificate(path: Path, name: str) -> Path:
    """Key and certificate that the appliance has signed itself."""
    if path.exists():
        return path
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    part = path.with_suffix(".part")
    part.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    part.rename(path)
    return path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
