"""The state of the appliance as one document, which is replaced as a whole: what is in it is what there is.

A crash leaves the document before a change or after it. Files of layers that it does not name are of a change that did
not come to its end; they are removed at the next start.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec


class Project(msgspec.Struct):
    name: str
    pool: str
    compression: str = "off"
    logbias: str = "latency"


class Origin(msgspec.Struct):
    """The snapshot that a clone was made of."""

    pool: str
    project: str
    share: str
    snapshot: str


class Snapshot(msgspec.Struct):
    name: str
    id: str
    layer: str
    volsize: int
    creation: str


class Lun(msgspec.Struct):
    name: str
    pool: str
    project: str
    id: str
    lunguid: str
    assignednumber: int
    layer: str
    """The one that is written to."""
    volsize: int
    volblocksize: int
    creation: str
    sparse: bool = False
    compression: str = "off"
    logbias: str = "latency"
    nodestroy: bool = False
    targetgroup: str = "default"
    initiatorgroup: str = "default"
    custom: dict[str, str] = {}
    origin: Origin | None = None
    snapshots: list[Snapshot] = []


class Initiator(msgspec.Struct):
    initiator: str
    alias: str
    chapuser: str = ""
    chapsecret: str = ""


class Target(msgspec.Struct):
    iqn: str
    alias: str
    auth: str = "none"
    targetchapuser: str = ""
    targetchapsecret: str = ""
    interfaces: list[str] = []


class Group(msgspec.Struct):
    name: str
    members: list[str]


class Property(msgspec.Struct):
    property: str
    description: str
    type: str


class Document(msgspec.Struct):
    asn: str
    pools: list[str]
    pool_bytes: int = 0
    """Of each pool, where nobody says so: what was free when it was made."""
    projects: list[Project] = []
    luns: list[Lun] = []
    layers: dict[str, tuple[str, str | None]] = {}
    """Pool of each layer, and the layer below it."""
    initiators: list[Initiator] = []
    initiator_groups: list[Group] = []
    targets: list[Target] = []
    target_groups: list[Group] = []
    schema: list[Property] = []


def load(path: Path) -> Document | None:
    """Raises: msgspec.DecodeError for a file that is none of ours."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Document)
    except FileNotFoundError:
        return None


def save(path: Path, document: Document) -> None:
    """Replace the file. Afterwards it is on the disk, whole."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(msgspec.json.encode(document))
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
