"""Host aggregates as requests ask for them.

Source: nova/api/openstack/compute/aggregates.py.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access, shapes
from deuteron.api.compute.bodies import Body, metadata, wrapped
from deuteron.api.compute.versions import only_from
from deuteron.model.codecs import is_uuid, quoted, whole_number
from deuteron.model.errors import BadRequest
from deuteron.rules.compute import aggregates, cached_images
from deuteron.rules.compute.aggregates import KEY, Aggregate
from deuteron.rules.compute.faults import invalid
from deuteron.store.database import Tx

_MOST_IMAGES: Final = 100


def list_all(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-aggregates:index")
    return Reply(200, {"aggregates": [_view(call, each) for each in aggregates.all_of(tx)]})


def show(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"aggregate": _view(call, _find(call, tx, "show"))})


def create(call: Call, tx: Tx) -> Reply:
    body = shapes.check(wrapped(call, "aggregate"), shapes.AGGREGATE, call.version)
    name, zone = body.name(), _zone(body)
    access.require(call, "os-aggregates:create")
    made = _view(call, aggregates.create(tx, name, zone))
    return Reply(200, {"aggregate": {key: value for key, value in made.items() if key not in ("hosts", "metadata")}})


def update(call: Call, tx: Tx) -> Reply:
    body = shapes.check(wrapped(call, "aggregate"), shapes.AGGREGATE_CHANGE, call.version)
    if not body.raw:
        raise invalid("aggregate", {}, f"it has to hold name or {KEY}")
    name = (body.text("name", least=1) or "").strip() if "name" in body else None
    if name == "":
        raise invalid("name", body.raw["name"], "it has to hold more than blanks")
    zone = _zone(body)
    found = _find(call, tx, "update")
    if name is not None:
        found = aggregates.rename(tx, found, name)
    if KEY in body:
        found = aggregates.set_metadata(tx, found, {KEY: zone}, "update")
    return Reply(200, {"aggregate": _view(call, found)})


def remove(call: Call, tx: Tx) -> Reply:
    aggregates.remove(tx, _find(call, tx, "delete"))
    return Reply(200)


def act(call: Call, tx: Tx) -> Reply:
    """`add_host`, `remove_host` or `set_metadata`."""
    whole = call.json()
    named = [name for name in shapes.AGGREGATE_ACTIONS if isinstance(whole, dict) and name in whole]
    if len(named) != 1:
        action = next(iter(whole), "") if isinstance(whole, dict) else ""
        known = ", ".join(shapes.AGGREGATE_ACTIONS)
        raise BadRequest(f"There is no such action: {quoted(action)}; one of {known} is", type="HTTPBadRequest")
    action = named[0]
    body = shapes.check(wrapped(call, action), shapes.AGGREGATE_ACTIONS[action], call.version)
    if action == "set_metadata":
        wanted = _metadata(body.raw["metadata"])
        found = _find(call, tx, action)
        found = aggregates.set_metadata(tx, found, wanted, "update metadata of")
        return Reply(200, {"aggregate": _view(call, found)})
    host = body.text("host", least=1)
    if host is None:
        raise invalid("host", host, "None is not of type 'string'")
    if action == "add_host":
        access.require(call, "os-aggregates:add_host")
        found = aggregates.add_host(tx, call.settings, _number(call), host)
    else:
        found = aggregates.remove_host(tx, call.settings, _find(call, tx, action), host)
    return Reply(200, {"aggregate": _view(call, found)})


def cache_images(call: Call, tx: Tx) -> Reply:
    """Have its hosts fetch images before a server needs them."""
    only_from(call, 81)
    raw = call.json()
    body = shapes.check(Body("", raw), shapes.AGGREGATE_IMAGES, call.version)
    ids = _image_ids(body.raw["cache"])
    access.require(call, access.CACHE_IMAGES)
    number = _number(call)
    if len(set(ids)) != len(ids):
        raise BadRequest("Duplicate images in request", type="HTTPBadRequest")
    cached_images.ask(tx, call.caller, aggregates.find(tx, number).hosts, ids)
    return Reply(202)


def _image_ids(raw: Any) -> list[str]:
    """Raises: BadRequest."""
    if not isinstance(raw, list):
        raise invalid("cache", raw, f"{quoted(raw)} is not of type 'array'")
    if not raw:
        raise invalid("cache", raw, "[] should be non-empty")
    if len(raw) > _MOST_IMAGES:
        raise invalid("cache", f"{len(raw)} images", f"at most {_MOST_IMAGES} are accepted at once")
    found = []
    for place, each in enumerate(raw):
        body = Body(f"cache.{place}", each).only((), ("id",))
        image_id = body.raw["id"]
        if not isinstance(image_id, str) or not is_uuid(image_id):
            raise invalid(f"cache.{place}.id", image_id, f"{quoted(image_id)} is not a 'uuid'")
        found.append(str(UUID(image_id)))
    return found


def _zone(body: Body) -> str | None:
    """The zone that a body names. Raises: BadRequest, also for a colon, behind which a host is named elsewhere."""
    if body.raw.get(KEY) is None:
        return None
    zone = body.name(KEY)
    if ":" in zone:
        raise invalid(KEY, zone, "it must not hold a colon, behind which a host would be named")
    return zone


def _metadata(raw: dict[str, Any]) -> dict[str, str | None]:
    """Raises: BadRequest."""
    kept = metadata("metadata", {key: value for key, value in raw.items() if value is not None})
    metadata("metadata", dict.fromkeys(raw, ""))  # the keys of what goes
    if ":" in kept.get(KEY, ""):
        raise invalid(KEY, kept[KEY], "it must not hold a colon, behind which a host would be named")
    return {key: kept.get(key) for key in raw}


def _number(call: Call) -> int:
    text = call.params["id"]
    number = whole_number(text.removeprefix("-"))
    if number is None:
        raise BadRequest(f"Invalid input received: id must be an integer, not {quoted(text)}", type="InvalidInput")
    return -number if text.startswith("-") else number


def _find(call: Call, tx: Tx, rule: str) -> Aggregate:
    access.require(call, f"os-aggregates:{rule}")
    return aggregates.find(tx, _number(call))


def _view(call: Call, aggregate: Aggregate) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": aggregate.id,
        "name": aggregate.name,
        "hosts": list(aggregate.hosts),
        "metadata": dict(aggregate.metadata),
        "availability_zone": aggregate.zone,
        "created_at": aggregate.created_at,
        "updated_at": aggregate.updated_at,
        "deleted": False,
        "deleted_at": None,
    }
    return {**shown, "uuid": aggregate.uuid} if call.version >= 41 else shown
