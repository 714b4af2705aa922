"""What an operator may set: `operator.toml` in the API's folder, read when the API starts.

    [image]
    image_count_total = 50
    image_size_total = 20480

    [limits]
    project = {rate = 50, burst = 200}    # requests a second for each project, and how many at once
    address = {rate = 100, burst = 400}   # the same for each address that clients come from

Without the file, or without a name in it, the defaults below hold. An unknown name or a value of another kind keeps the
API from starting, and the message says which: what is set does something. A limit of -1 is none.

Names are those of the services: Keystone's `user_limit`, Glance's unified limits and `require_image_format_match`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec


class BadOperatorFile(Exception):
    """`operator.toml` cannot be used; the message says where it is wrong."""


class ImageOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits are for each project that owns images."""

    require_image_format_match: bool = True
    """Whether data whose format is not the declared one are refused. If not they are kept, and cannot be booted."""
    image_count_total: int = 500
    image_count_uploading: int = 20
    """How many uploads may be under way at once."""
    image_size_total: int = 100 * 1024
    """MiB of data. It is looked at before an upload: the last one may go beyond, as with Glance."""


class IdentityOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits are for each user; -1 is none. Keystone's `[credential]` and `[application_credential]` `user_limit`."""

    credential_user_limit: Annotated[int, msgspec.Meta(ge=-1)] = 200
    application_credential_user_limit: Annotated[int, msgspec.Meta(ge=-1)] = 200


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Requests a second over time, and how many may come at once."""

    rate: Annotated[float, msgspec.Meta(gt=0, le=1_000_000)]
    burst: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class LimitOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Requests are limited only where a rate is set; agents never are."""

    project: Rate | None = None
    """Of each project."""
    address: Rate | None = None
    """Of each address that clients come from."""
    slow_request_ms: Annotated[float, msgspec.Meta(gt=0)] = 1000.0
    """A request that takes longer is a line in the log."""


class Operator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    image: ImageOptions = ImageOptions()
    identity: IdentityOptions = IdentityOptions()
    limits: LimitOptions = LimitOptions()


FILE = "operator.toml"


def read_operator(folder: Path) -> Operator:
    """The operator's settings in `folder`. Raises: BadOperatorFile; OSError when the file cannot be read."""
    path = folder / FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Operator()
    try:
        return msgspec.toml.decode(data, type=Operator)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadOperatorFile(f"cannot use {path}: {error}") from None
