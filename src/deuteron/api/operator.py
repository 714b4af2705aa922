"""What an operator may set: `operator.toml` in the API's folder, read when the API starts.

    [image]
    image_count_total = 50
    image_size_total = 20480

Without the file, or without a name in it, the defaults below hold. An unknown name or a value of another kind keeps the
API from starting, and the message says which: what is set does something. A limit of -1 is none.

Names are those of the services: Keystone's `user_limit`, Glance's unified limits and `require_image_format_match`.
"""

from __future__ import annotations

from pathlib import Path

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


class Operator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    image: ImageOptions = ImageOptions()


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
