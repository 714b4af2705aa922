"""Tags: words on any object that has standard attributes, under /{collection}/{id}/tags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deuteron.api.call import Call, Mode, Reply, Route
from deuteron.api.network import bodies
from deuteron.api.network.policies import POLICIES
from deuteron.model.codecs import Invalid, Text
from deuteron.model.network.shared import MAX_TAGS
from deuteron.rules.network import faults, sight
from deuteron.rules.network.kinds import Kind, change
from deuteron.store.database import Tx
from deuteron.store.query import Values

_TAG = Text(max_length=255)


class Tags:
    """The handlers for the tags of one kind."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def routes(self) -> tuple[Route, ...]:
        # Neutron finds them below the last word of a collection's path.
        base = f"/v2.0/{self._kind.resource.path.rpartition('/')[2]}/{{id}}/tags"
        return (
            Route("GET", base, self.show),
            Route("PUT", base, self.replace, Mode.WRITE),
            Route("POST", base, self.extend, Mode.WRITE),
            Route("DELETE", base, self.clear, Mode.WRITE),
            Route("GET", f"{base}/{{tag}}", self.has),
            Route("PUT", f"{base}/{{tag}}", self.add, Mode.WRITE),
            Route("DELETE", f"{base}/{{tag}}", self.drop, Mode.WRITE),
        )

    def show(self, call: Call, tx: Tx) -> Reply:
        return Reply(200, {"tags": self._row(call, tx)["tags"]})

    def replace(self, call: Call, tx: Tx) -> Reply:
        """The tags become those of the body."""
        wanted = _decoded(bodies.parse(call, "tags"))
        self._set(tx, self._writable(call, tx, "update"), wanted)
        return Reply(200, {"tags": wanted})

    def extend(self, call: Call, tx: Tx) -> Reply:
        """The tags of the body are added."""
        wanted = _decoded(bodies.parse(call, "tags"))
        row = self._writable(call, tx, "create")
        self._set(tx, row, [*row["tags"], *wanted])
        return Reply(200, {"tags": wanted})

    def clear(self, call: Call, tx: Tx) -> Reply:
        self._set(tx, self._writable(call, tx, "delete"), [])
        return Reply(204)

    def has(self, call: Call, tx: Tx) -> Reply:
        _decoded({"tags": [call.params["tag"]]})
        self._require(self._row(call, tx), call.params["tag"])
        return Reply(204)

    def add(self, call: Call, tx: Tx) -> Reply:
        wanted = _decoded({"tags": [call.params["tag"]]})
        row = self._writable(call, tx, "update")
        self._set(tx, row, [*row["tags"], *wanted])
        return Reply(201)

    def drop(self, call: Call, tx: Tx) -> Reply:
        _decoded({"tags": [call.params["tag"]]})
        row = self._writable(call, tx, "delete")
        self._require(row, call.params["tag"])
        self._set(tx, row, [tag for tag in row["tags"] if tag != call.params["tag"]])
        return Reply(204)

    def _row(self, call: Call, tx: Tx) -> Values:
        """Raises: NotFound, also for what the caller may not read."""
        row = sight.find_visible(tx, call.caller, self._kind, call.params["id"])
        target = {
            **sight.row_target(row),
            **self._kind.target(tx, call.caller, row),
            **self._kind.seen_as(call.caller, row),
        }
        if not call.policy.check(call.caller, self._rule("get"), target):
            raise faults.not_found(self._kind.name, row["id"])
        return row

    def _writable(self, call: Call, tx: Tx, verb: str) -> Values:
        row = self._row(call, tx)
        target = {**sight.row_target(row), **self._kind.target(tx, call.caller, row)}
        if not call.policy.check(call.caller, self._rule(verb), target):
            raise faults.not_authorized([f"{verb}_{self._kind.rule}:tags"])
        return row

    def _rule(self, verb: str) -> str:
        named = f"{verb}_{self._kind.rule}:tags"
        if named in POLICIES:
            return named
        return f"{'get' if verb == 'get' else 'update'}_{self._kind.rule}"

    def _set(self, tx: Tx, row: Values, tags: Sequence[str]) -> None:
        found = sorted(set(tags))
        if len(found) > MAX_TAGS:
            raise faults.invalid_input(f"The number of tags exceeds the maximum {MAX_TAGS}")
        change(tx, self._kind.resource, row, {"tags": found})

    def _require(self, row: Values, tag: str) -> None:
        if tag not in row["tags"]:
            raise faults.missing("TagNotFound", f"Tag {tag} could not be found.")


def _decoded(body: dict[str, Any]) -> list[str]:
    tags = body.get("tags")
    if not isinstance(tags, list):
        raise faults.invalid_input("Invalid tags body")
    if len(tags) > MAX_TAGS:
        raise faults.invalid_input(f"The number of tags exceeds the maximum {MAX_TAGS}")
    found: list[str] = []
    for tag in tags:
        try:
            text = _TAG.decode(tag)
        except Invalid as error:
            raise faults.invalid_input(error.reason) from None
        if text in found:
            raise faults.invalid_input(f"Duplicate items in the list: '{text}'")
        found.append(text)
    return found
