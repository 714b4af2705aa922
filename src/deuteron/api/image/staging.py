"""Interoperable import: data are staged, or lie elsewhere, and become an image's after the request was answered.

    PUT /v2/images/{id}/stage     to `.staged-<id>`; the image is `uploading`
    POST /v2/images/{id}/import   a task is made, the image is `importing`, and a job does the rest

The job takes what was staged (`glance-direct`), or reads it from where a URI says (`web-download`, see `fetch`). It
hashes and inspects it, as an upload is, and gives it the name of the image's data. If it fails, the task says why, and
the image is queued again. If the process ends meanwhile, what was staged can be imported again.

Source: Glance api-ref, "Interoperable image import"; glance/api/v2/images.py, image_data.py.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from deuteron.api.call import Call, Reply
from deuteron.api.image import fetch, files, sink
from deuteron.api.image.policies import require, target
from deuteron.api.parts import Parts
from deuteron.model.codecs import quoted, whole_number
from deuteron.model.errors import ApiError, BadRequest, NotFound
from deuteron.model.image_rows import TaskRow
from deuteron.rules.image import data, imports
from deuteron.rules.image.data import Received
from deuteron.rules.image.images import find_visible
from deuteron.rules.network.outside import networks_outside
from deuteron.store.database import Tx

RESOLVE_TIMEOUT_S: Final = 5.0

log = structlog.get_logger("deuteron.api")


def methods(call: Call) -> tuple[str, ...]:
    """The names of what an import can be."""
    return call.settings.operator.image.enabled_import_methods


async def stage(call: Call) -> Reply:
    """PUT /v2/images/{id}/stage.

    Raises: Unsupported, NotFound, Forbidden, Conflict, BadRequest; TooLarge when the disk is full; Gone when the
    image is deleted meanwhile.
    """
    if "glance-direct" not in methods(call):
        raise NotFound("'glance-direct' method is not available at this site.")
    files.refuse_other_type(call)
    image_id = await files.write(call, lambda tx: _begin_stage(call, tx))
    temporary, staged = data.new_upload(call.settings, image_id), data.staged_path(call.settings, image_id)
    is_done = False
    store = call.store
    try:
        received = await sink.receive(call, temporary)
        await asyncio.to_thread(sink.rename, temporary, staged)
        # Shielded: once it is queued it happens, even if this task is cancelled.
        finished = store.submit(lambda tx: imports.finish_stage(tx, image_id, received.size))
        await asyncio.shield(asyncio.wrap_future(finished))
        is_done = True
    except OSError as error:
        raise sink.storage_error(error) from error
    finally:
        if not is_done:
            temporary.unlink(missing_ok=True)
            given_back = store.submit(lambda tx: imports.give_back_stage(tx, call.settings, image_id))
            await asyncio.shield(asyncio.wrap_future(given_back))
    return Reply(204)


async def import_image(call: Call) -> Reply:
    """POST /v2/images/{id}/import. Raises: BadRequest, NotFound, Forbidden, Conflict, TooLarge."""
    await call.read_body()
    request = _read(call)
    parts, image_id, method = call.parts, call.params["id"], request["method"]["name"]
    if method == "glance-direct":
        task = await files.write(call, lambda tx: _begin_import(call, tx, request))
        parts.imports.start(partial(_run, parts, task["id"], image_id, partial(_staged, parts, image_id)))
    else:
        # Who may not hears nothing of what a name resolves to.
        await asyncio.to_thread(_look, call, request)
        place = await resolved(call, request["method"].get("uri"), "web-download")
        task = await files.write(call, lambda tx: _begin_import(call, tx, request))
        start_download(parts, task, place)
    return Reply(202)


def start_download(parts: Parts, task: TaskRow, place: fetch.Place) -> None:
    """Have the task bring the data of its image from there."""
    image_id = task["image_id"]
    assert image_id is not None
    parts.downloads.start(partial(_run, parts, task["id"], image_id, partial(_downloaded, parts, image_id, place)))


async def resolved(call: Call, uri: object, what: str) -> fetch.Place:
    """Where the URI leads, as far as one may go there. Raises: BadRequest."""
    options = call.settings.operator.image.import_filtering_opts
    place = fetch.read(uri, options, what)
    look = call.parts.names.ask(lambda: fetch.resolve(place, options, _outside(call.parts), what))
    try:
        return await asyncio.wait_for(asyncio.wrap_future(look), RESOLVE_TIMEOUT_S)
    except TimeoutError:
        raise fetch.refusal(place.uri, what) from None


def _look(call: Call, request: Mapping[str, Any]) -> None:
    with call.store.read() as tx:
        row = find_visible(tx, call.caller, call.params["id"])
        require(call, "modify_image", target(call.caller, row))
        imports.refuse(row, request["method"]["name"])


def _outside(parts: Parts) -> list[fetch.Network]:
    """The cloud's networks outside."""
    with parts.database.read() as tx:
        return [ipaddress.ip_network(cidr, strict=False) for cidr in networks_outside(tx)]


def _read(call: Call) -> Mapping[str, Any]:
    """What the body asks for. Raises: BadRequest."""
    body = call.json()
    if not isinstance(body, dict) or not isinstance(body.get("method"), dict):
        raise BadRequest("Import request requires a 'method' field.")
    if "name" not in body["method"]:
        raise BadRequest("Import request requires a 'name' field.")
    name = body["method"]["name"]
    if name not in methods(call):
        raise BadRequest(f"Unknown import method name '{quoted(name)}'.")
    for key in ("all_stores_must_succeed", "all_stores"):
        if not isinstance(body.get(key, False), bool):
            raise BadRequest(f"'{key}' must be boolean value only")
    if body.get("all_stores_must_succeed", True) is False:
        raise BadRequest("All_stores_must_succeed can only be set with enabled_backends")
    # All stores are the one that there is.
    if body.get("stores") or "x-image-meta-store" in call.headers:
        raise BadRequest("Stores cannot be chosen: multi backend is not supported at this site.")
    return body


def _begin_stage(call: Call, tx: Tx) -> str:
    row = find_visible(tx, call.caller, call.params["id"])
    require(call, "modify_image", target(call.caller, row))
    size = whole_number(call.headers.get("content-length", "0")) or 0
    imports.begin_stage(tx, call.settings.operator.image, row, size)
    return row["id"]


def _begin_import(call: Call, tx: Tx, request: Mapping[str, Any]) -> TaskRow:
    row = find_visible(tx, call.caller, call.params["id"])
    require(call, "modify_image", target(call.caller, row))
    options, method = call.settings.operator.image, request["method"]["name"]
    return imports.begin(tx, call.caller, options, row, method, request, call.request_id)


def _run(parts: Parts, task_id: str, image_id: str, bring: Callable[[int], tuple[Path, Received]]) -> None:
    """The job of an import. `bring` gives the file with the data, of so many bytes at most. Raises: Interrupted."""
    settings, store = parts.settings, parts.database
    options = settings.operator.image
    try:
        begun = store.write(lambda tx: imports.start(tx, options, task_id, image_id))
        try:
            brought, received = bring(begun.most_bytes)
            found = sink.settle(brought, begun.declared, options)
            sink.link(brought, data.path_of(settings, image_id))
        except OSError as error:
            raise sink.storage_error(error) from error
        store.write(lambda tx: imports.finish(tx, task_id, begun.declared, received, found))
        brought.unlink(missing_ok=True)
    except ApiError as error:
        _fail(parts, task_id, image_id, error)


def _fail(parts: Parts, task_id: str, image_id: str, error: ApiError) -> None:
    log.info("an import failed", task=task_id, image=image_id, reason=error.message)
    parts.database.write(lambda tx: imports.fail(tx, parts.settings, task_id, image_id, error))


def _staged(parts: Parts, image_id: str, most_bytes: int) -> tuple[Path, Received]:
    staged, digests = data.staged_path(parts.settings, image_id), sink.Digests()
    with staged.open("rb") as file:
        while piece := file.read(sink.CHUNK_BYTES):
            parts.imports.go_on()
            digests.update(piece)
    return staged, digests.received()


def _downloaded(parts: Parts, image_id: str, place: fetch.Place, most_bytes: int) -> tuple[Path, Received]:
    """Under a name of its own, until it is inspected. Raises: what `fetch.opened` does; OSError."""
    options = parts.settings.operator.image
    path = data.staged_path(parts.settings, image_id)

    def again(uri: str) -> fetch.Place:
        filter = options.import_filtering_opts
        return fetch.resolve(fetch.read(uri, filter), filter, _outside(parts))

    path.unlink(missing_ok=True)
    into = sink.Sink(path, most_bytes)
    try:
        with fetch.opened(place, parts.downloads, again, most_bytes, options.web_download_timeout_s) as pieces:
            for piece in pieces:
                into.write(piece)
        return path, into.finish()
    finally:
        into.close()
