"""The settings of a cloud, read from its folder: `api.json`, and what an operator may set in `operator.toml`.

    [image]
    image_count_total = 50
    image_size_total = 20480

    [network]
    dns_domain = "cloud.example"          # ports have names in it

    [limits]
    project = {rate = 50, burst = 200}    # requests a second for each project, and how many at once
    address = {rate = 100, burst = 400}   # the same for each address that clients come from

    [vnc]
    port = 5900                           # viewers of VNC that are no browsers find guests' screens there, over TLS

Without the file, or without a name in it, the defaults below hold. An unknown name or a value of another kind keeps the
API from starting, and the message says which: what is set does something. A limit of -1 is none.

Names are those of the services: Keystone's `user_limit`, Glance's unified limits and `require_image_format_match`.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from deuteron.model.settings import Operator, Settings


class BadOperatorFile(Exception):
    """`operator.toml` cannot be used; the message says where it is wrong."""


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


def load_settings(path: Path) -> Settings:
    """`api.json`, with what the operator set.

    Raises: OSError; msgspec.ValidationError naming the field; BadOperatorFile.
    """
    settings = msgspec.json.decode(path.read_bytes(), type=Settings)
    return msgspec.structs.replace(settings, operator=read_operator(Path(settings.state_dir)))
