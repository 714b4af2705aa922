"""OpenStack's standard namespaces of metadata definitions, which tools expect: they are loaded once, into a new cloud.

They are Glance's own files, `etc/metadefs` of its release 33.0.0, as they are there: under the Apache License 2.0 like
this program (see `namespaces/NOTICE`, and decision 0017). What an administrator changes or deletes stays so: they are
loaded when no definition ever was.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from importlib import resources

import msgspec

from deuteron.rules.image import metadefs
from deuteron.rules.image.images import moment
from deuteron.rules.image.metadefs import NewPart
from deuteron.store.database import Tx
from deuteron.store.image_tables import metadef_namespaces, metadef_parts, metadef_resource_types


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file."""

    namespace: str
    visibility: str = "private"
    """Two files say nothing; then Glance shows them to nobody but administrators."""
    display_name: str | None = None
    description: str | None = None
    protected: bool = False
    resource_type_associations: tuple[dict[str, object], ...] = ()
    properties: dict[str, dict[str, object]] = {}
    objects: tuple[dict[str, object], ...] = ()
    tags: tuple[dict[str, object], ...] = ()

    def parts(self) -> Iterator[NewPart]:
        for name, body in self.properties.items():
            yield NewPart("property", name, body)
        for kind, items in (
            ("object", self.objects),
            ("resource_type", self.resource_type_associations),
            ("tag", self.tags),
        ):
            for item in items:
                yield NewPart(kind, str(item["name"]), {name: said for name, said in item.items() if name != "name"})


def load(tx: Tx) -> None:
    """Into a cloud without any definitions; into another nothing."""
    if not metadefs.is_empty(tx):
        return
    now = moment(tx)
    times = {"created_at": now, "updated_at": now}
    spaces: list[dict[str, object]] = []
    parts: list[dict[str, object]] = []
    for document in documents():
        id = str(uuid.uuid4())
        said = {name: getattr(document, name) for name in ("namespace", "display_name", "description", "visibility")}
        spaces.append({**said, "protected": document.protected, "id": id, "owner": "admin", **times})
        for part in document.parts():
            named = {"id": str(uuid.uuid4()), "namespace_id": id, "kind": part.kind, "name": part.name}
            parts.append({**named, "body": dict(part.body), **times})
    tx.insert(metadef_namespaces, spaces)
    tx.insert(metadef_parts, parts)
    types = sorted({str(part["name"]) for part in parts if part["kind"] == "resource_type"})
    tx.insert(metadef_resource_types, [{"name": name, **times} for name in types])


def documents() -> Iterator[Document]:
    """The files, in the order of their names."""
    folder = resources.files("deuteron.rules.image") / "namespaces"
    for file in sorted(folder.iterdir(), key=lambda each: each.name):
        if file.name.endswith(".json"):
            yield msgspec.json.decode(file.read_bytes(), type=Document)
