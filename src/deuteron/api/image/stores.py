"""The requests about stores: which there are, which of them a request means, and that one is to lose its copy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from deuteron.api.call import Call, Reply
from deuteron.api.image.policies import require, target
from deuteron.model.codecs import quoted
from deuteron.model.errors import BadRequest, Conflict, NotFound
from deuteron.model.image import MAX_STORES
from deuteron.rules.image import copies, images, stores
from deuteron.rules.image.imports import COPY
from deuteron.rules.image.stores import Store
from deuteron.store.database import Tx

T = TypeVar("T")

HEADER: Final = "x-image-meta-store"
CHUNK_BYTES: Final = 65536
"""Glance's default; what data are written in here is no option."""


def methods(call: Call) -> tuple[str, ...]:
    """The names of what an import can be."""
    options = call.settings.operator.image
    return tuple(name for name in options.enabled_import_methods if name != COPY or options.stores)


def list_stores(call: Call, tx: Tx) -> Reply:
    """Raises: NotFound where an operator set none."""
    return Reply(200, {"stores": [_shown(store) for store in _configured(call)]})


def list_details(call: Call, tx: Tx) -> Reply:
    """With what they are made of, for administrators and services. Raises: NotFound, Forbidden."""
    found = _configured(call)
    require(call, "stores_info_detail", {})
    return Reply(200, {"stores": [{**_shown(store), **_detail(call, store)} for store in found]})


async def delete_copy(call: Call) -> Reply:
    """DELETE /v2/stores/{store_id}/{id}. Raises: NotFound, Conflict, Forbidden."""
    _configured(call)
    image_id = call.params["id"]
    store = stores.named(call.settings.operator.image, call.params["store_id"])
    if store is None:
        raise Conflict(f"The selected store {quoted(call.params['store_id'])} is not available on this node.")

    def take_out(tx: Tx) -> None:
        row = images.seen(tx, call.caller, image_id)
        if row is None:
            raise NotFound(f"Failed to find image {quoted(image_id)}")
        for rule in ("get_image_location", "delete_image_location"):
            require(call, rule, target(call.caller, row))
        copies.take_out(tx, row, store)

    await _write(call, take_out)
    aside = await _write(call, lambda tx: copies.set_aside(tx, call.settings, image_id, store))
    if aside is not None:
        await asyncio.to_thread(aside.unlink, missing_ok=True)
    return Reply(204)


def folder_of_upload(call: Call) -> str | None:
    """Of the store that the header names, if it names one. Raises: BadRequest."""
    name = call.headers.get(HEADER)
    options = call.settings.operator.image
    if name is None:
        return None
    if not options.stores:
        raise _refusal()
    store = stores.named(options, name)
    if store is None:
        raise BadRequest(_unknown(name))
    return store.folder


def chosen(call: Call, names: Sequence[str]) -> list[Store]:
    """The stores that a download names. Raises: BadRequest."""
    options = call.settings.operator.image
    if names and not options.stores:
        raise BadRequest("Store selection for download is not available when multiple backends are not enabled.")
    found = []
    for name in names:
        store = stores.named(options, name)
        if store is None:
            raise BadRequest(f"Store '{quoted(name)}' is not configured.")
        found.append(store)
    return found


def asked(call: Call, body: Mapping[str, Any]) -> list[str | None]:
    """The stores that an import is to; without any set, the one place. Raises: BadRequest; Conflict for an unknown."""
    options = call.settings.operator.image
    configured = stores.configured(options)
    if not configured:
        # All stores are the one that there is.
        if body.get("stores") or HEADER in call.headers:
            raise _refusal()
        if body.get("all_stores_must_succeed", True) is False:
            raise BadRequest("All_stores_must_succeed can only be set with enabled_backends")
        return [None]
    if body.get("all_stores", False):
        if "stores" in body or HEADER in call.headers:
            raise BadRequest("All_stores parameter can't be used with x-image-meta-store header or stores parameter")
        return [store.name for store in configured]
    if "stores" not in body:
        default = next(store.name for store in configured if store.is_default)
        names: list[Any] = [call.headers.get(HEADER, default)]
    else:
        if HEADER in call.headers:
            raise BadRequest("Stores parameter and x-image-meta-store header can't be both specified")
        names = body["stores"]
        if not isinstance(names, list) or not 0 < len(names) <= MAX_STORES:
            raise BadRequest(f"'stores' must be a list of 1 to {MAX_STORES} store identifiers")
    for name in names:
        if stores.named(options, name) is None:
            raise Conflict(_unknown(name))
    return list(dict.fromkeys(names))


async def _write(call: Call, function: Callable[[Tx], T]) -> T:
    return await asyncio.wrap_future(call.store.submit(function))


def _configured(call: Call) -> tuple[Store, ...]:
    found = stores.configured(call.settings.operator.image)
    if not found:
        raise NotFound("Multi backend is not supported at this site.")
    return found


def _shown(store: Store) -> dict[str, str]:
    shown = {"id": store.name}
    if store.options.store_description:
        shown["description"] = store.options.store_description
    if store.is_default:
        shown["default"] = "true"
    return shown


def _detail(call: Call, store: Store) -> dict[str, Any]:
    place = stores.place_of(call.settings, store.folder)
    properties = {"data_dir": str(place), "chunk_size": CHUNK_BYTES, "thin_provisioning": False}
    return {"type": "file", "weight": store.options.weight, "properties": properties}


def _unknown(name: object) -> str:
    return f"Store for identifier {quoted(name)} not found"


def _refusal() -> BadRequest:
    return BadRequest("Stores cannot be chosen: multi backend is not supported at this site.")
