"""Signatures of EC2 and S3 requests, as a service that took one hands them on: what the signature should have been.

EC2's are of version 0, 1, 2 or 4, which the request says itself. Nothing here looks at the clock or the rows.
Source: keystoneclient 6.0 contrib/ec2/utils.py; keystone 30.0 api/ec2tokens.py and api/s3tokens.py; Amazon's
"Signature Version 2" and "Signature Version 4" signing processes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from deuteron.model.errors import Unauthorized

_V4: Final = "AWS4-HMAC-SHA256"
_S3_SERVICES: Final = frozenset({"s3", "iam", "sts"})


@dataclass(frozen=True)
class Signed:
    """A request that somebody signed. Names of headers are as they were sent."""

    signature: str
    verb: str
    host: str
    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    body_hash: str


def read(given: Mapping[str, object]) -> Signed:
    """The request in a body's `credentials`. Raises: Unauthorized when there is no signature, or it is of no form."""
    if not given.get("signature"):
        raise Unauthorized("EC2 signature not supplied.")
    return Signed(
        signature=_text(given.get("signature")),
        verb=_text(given.get("verb", "")),
        host=_text(given.get("host", "")),
        path=_text(given.get("path", "")),
        params=_texts(given.get("params", {})),
        headers=_texts(given.get("headers", {})),
        body_hash=_text(given.get("body_hash", "")),
    )


def refuse_forged(request: Signed, secret: str) -> None:
    """Raises: Unauthorized unless the request was signed with the secret. The host may be without its port."""
    tried = [request]
    if ":" in request.host:
        tried.append(replace(request, host=request.host.rpartition(":")[0]))
    for each in tried:
        if hmac.compare_digest(request.signature.encode(), _signature(each, secret.encode()).encode()):
            return
    raise _invalid()


def refuse_forged_s3(token: object, signature: object, secret: str) -> None:
    """The same of a string to sign, in base64. Raises: Unauthorized."""
    try:
        signed = base64.urlsafe_b64decode(_text(token))
    except ValueError:
        raise _invalid() from None
    if signed[:4] == b"AWS4":
        wanted = _s3_v4(signed, secret.encode())
    else:
        wanted = base64.b64encode(_sha1(secret.encode(), signed)).decode()
    if not hmac.compare_digest(_text(signature).encode(), wanted.encode()):
        raise Unauthorized("Credential signature mismatch")


def said_time(request: Signed) -> str | None:
    """When the request says that it was signed; None where it does not."""
    return request.params.get("Timestamp") or request.headers.get("X-Amz-Date") or request.params.get("X-Amz-Date")


def _signature(request: Signed, secret: bytes) -> str:
    params = request.params
    version = params.get("SignatureVersion")
    if version == "0":
        return _base64(_sha1(secret, (params.get("Action", "") + params.get("Timestamp", "")).encode()))
    if version == "1":
        text = "".join(key + params[key] for key in sorted(params, key=str.lower))
        return _base64(_sha1(secret, text.encode()))
    if version == "2":
        query = _canonical({**params, "SignatureMethod": "HmacSHA256"})
        return _base64(_sha256(secret, f"{request.verb}\n{request.host}\n{request.path}\n{query}"))
    authorization = request.headers.get("Authorization")
    if (authorization or "").startswith(_V4) or (authorization is None and params.get("X-Amz-Algorithm") == _V4):
        return _v4(request, secret)
    raise _invalid()


def _v4(request: Signed, secret: bytes) -> str:
    signed_headers = _parameter(request, "SignedHeaders")
    canonical = "\n".join(
        (
            request.verb.upper(),
            request.path,
            "" if request.verb.upper() == "POST" else _canonical(request.params),
            _canonical_headers(request, signed_headers),
            signed_headers,
            request.body_hash,
        )
    )
    scope = _parameter(request, "Credential").split("/")[1:]
    date = request.headers.get("X-Amz-Date") or request.params.get("X-Amz-Date") or ""
    if len(scope) != 4 or not scope[0] or not date.startswith(scope[0]):
        raise _invalid()
    to_sign = "\n".join((_V4, date, "/".join(scope), hashlib.sha256(canonical.encode()).hexdigest()))
    return _sha256(_v4_key(secret, scope[0], scope[1], scope[2]), to_sign).hex()


def _v4_key(secret: bytes, date: str, region: str, service: str) -> bytes:
    key = b"AWS4" + secret
    for part in (date, region, service, "aws4_request"):
        key = _sha256(key, part)
    return key


def _s3_v4(signed: bytes, secret: bytes) -> str:
    parts = signed.decode(errors="replace").split("\n")
    scope = parts[2].split("/") if len(parts) == 4 and parts[0] == _V4 else []
    if len(scope) != 4 or scope[3] != "aws4_request" or scope[2] not in _S3_SERVICES:
        raise _invalid()
    return hmac.new(_v4_key(secret, scope[0], scope[1], scope[2]), signed, hashlib.sha256).hexdigest()


def _parameter(request: Signed, name: str) -> str:
    """Of version 4: from the header `Authorization`, or of the query."""
    header = request.headers.get("Authorization")
    if header is None:
        return request.params.get(f"X-Amz-{name}", "")
    return header.partition(f"{name}=")[2].split(",")[0]


def _canonical_headers(request: Signed, signed: str) -> str:
    headers = {name.lower().strip(): value.strip() for name, value in request.headers.items()}
    if re.match(r"Boto/2\.[0-9]\.[0-2]", headers.get("user-agent", "")) and "host" in headers:
        headers["host"] = headers["host"].split(":")[0]  # what these versions signed
    return "\n".join(f"{name}:{headers[name]}" for name in signed.split(";") if name in headers) + "\n"


def _canonical(params: Mapping[str, str]) -> str:
    return "&".join(
        f"{urllib.parse.quote(key, safe='')}={urllib.parse.quote(params[key], safe='-_~')}" for key in sorted(params)
    )


def _sha1(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha1).digest()


def _sha256(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _texts(given: object) -> dict[str, str]:
    if not isinstance(given, dict):
        raise _invalid()
    return {_text(name): _text(value) for name, value in given.items()}


def _text(given: object) -> str:
    """What a signature is over; numbers are as they were written. Raises: Unauthorized."""
    if isinstance(given, bool) or not isinstance(given, str | int):
        raise _invalid()
    try:
        return str(given).encode().decode()
    except UnicodeEncodeError:
        raise _invalid() from None


def _invalid() -> Unauthorized:
    return Unauthorized("Invalid EC2 signature.")
