"""What of Neutron's extensions is really here; clients decide by this list what they may ask for."""

from __future__ import annotations

from deuteron.api.call import Call, Reply
from deuteron.model.network import EXTENSIONS
from deuteron.rules.network import faults
from deuteron.store.database import Tx


def list_extensions(call: Call, tx: Tx) -> Reply:
    """GET /extensions"""
    return Reply(200, {"extensions": [_extension(alias) for alias in EXTENSIONS]})


def show_extension(call: Call, tx: Tx) -> Reply:
    """GET /extensions/{alias}"""
    alias = call.params["alias"]
    if alias not in EXTENSIONS:
        raise faults.missing("HTTPNotFound", f"Extension with alias {alias} does not exist")
    return Reply(200, {"extension": _extension(alias)})


def _extension(alias: str) -> dict[str, object]:
    found = EXTENSIONS[alias]
    return {
        "name": found.name, "alias": alias, "description": found.description, "updated": found.updated, "links": [],
    }  # fmt: skip
