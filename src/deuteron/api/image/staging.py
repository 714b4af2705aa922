"""Interoperable import: data are staged, or lie elsewhere, and become an image's after the request was answered.

    PUT /v2/images/{id}/stage     to `.staged-<id>`; the image is `uploading`
    POST /v2/images/{id}/import   a task is made, the image is `importing`, and a job does the rest

The job takes what was staged (`glance-direct`), or reads it from where a URI says (`web-download`, see `fetch`). It
hashes and inspects it, as an upload is, and gives it the name of the image's data, in each store that the import is to.
If it fails, the task says why, and the image is queued again. If the process ends meanwhile, what was staged can be
imported again.

The data of an active image go to more stores in the same way (`copy-image`), and it has them all the time.

Source: Glance api-ref, "Interoperable image import"; glance/api/v2/images.py, image_data.py.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from deuteron.api.call import Call, Reply
from deuteron.api.image import fetch, files, sink, stores
from deuteron.api.image.policies import require, target
from deuteron.api.parts import Parts
from deuteron.model.codecs import quoted, whole_number
from deuteron.model.errors import ApiError, BadRequest, NotFound
from deuteron.model.image_rows import TaskRow
from deuteron.rules.image import data, imports
from deuteron.rules.image.data import Received
from deuteron.rules.image.images import find_visible
from deuteron.rules.image.imports import COPY, Begun, Target
from deuteron.rules.image.inspect import Inspection
from deuteron.rules.network.outside import networks_outside
from deuteron.store.database import Tx

RESOLVE_TIMEOUT_S: Final = 5.0

log = structlog.get_logger("deuteron.api")


async def stage(call: Call) -> Reply:
    """PUT /v2/images/{id}/stage.

    Raises: Unsupported, NotFound, Forbidden, Conflict, BadRequest; TooLarge when the disk is full; Gone when the
    image is deleted meanwhile.
    """
    if "glance-direct" not in stores.methods(call):
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
    if method in ("glance-direct", COPY):
        bring = _copied if method == COPY else _staged
        begun = await files.write(call, lambda tx: _begin_import(call, tx, request))
        if begun is not None:
            parts.imports.start(partial(_run, parts, begun["id"], image_id, partial(bring, parts, image_id)))
    else:
        # Who may not hears nothing of what a name resolves to.
        await asyncio.to_thread(_look, call, request)
        place = await resolved(call, request["method"].get("uri"), "web-download")
        task = await files.write(call, lambda tx: _begin_import(call, tx, request))
        assert task is not None  # it is no copy
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
    if name not in stores.methods(call):
        raise BadRequest(f"Unknown import method name '{quoted(name)}'.")
    for key in ("all_stores_must_succeed", "all_stores"):
        if not isinstance(body.get(key, False), bool):
            raise BadRequest(f"'{key}' must be boolean value only")
    return body


def _begin_stage(call: Call, tx: Tx) -> str:
    row = find_visible(tx, call.caller, call.params["id"])
    require(call, "modify_image", target(call.caller, row))
    size = whole_number(call.headers.get("content-length", "0")) or 0
    imports.begin_stage(tx, call.settings.operator.image, row, size)
    return row["id"]


def _begin_import(call: Call, tx: Tx, request: Mapping[str, Any]) -> TaskRow | None:
    """None when there is nothing to do."""
    method = request["method"]["name"]
    row = find_visible(tx, call.caller, call.params["id"])
    require(call, "copy_image" if method == COPY else "modify_image", target(call.caller, row))
    imports.refuse(row, method)
    options, names = call.settings.operator.image, stores.asked(call, request)
    return imports.begin(tx, call.caller, options, row, method, request, names, call.request_id)


@dataclass(frozen=True)
class _Brought:
    """Data that an import is of: files that each have them, and what they are."""

    files: Sequence[Path]
    received: Received
    found: Inspection | None
    is_staged: bool
    """Whether the file was made for the import, and goes afterwards."""


def _run(parts: Parts, task_id: str, image_id: str, bring: Callable[[Begun], _Brought]) -> None:
    """The job of an import. `bring` gives the data, of so many bytes at most. Raises: Interrupted."""
    store = parts.database
    at: Target | None = None
    try:
        begun = store.write(lambda tx: imports.start(tx, parts.settings.operator.image, task_id, image_id))
        try:
            brought = bring(begun)
        except OSError as error:
            raise sink.storage_error(error) from error
        placed: list[Target] = []
        for at in begun.targets:
            if _is_placed(parts, task_id, begun, brought, at):
                placed.append(at)
        at = None
        store.write(lambda tx: imports.finish(tx, task_id, begun, placed, brought.received, brought.found))
        if brought.is_staged:
            brought.files[0].unlink(missing_ok=True)
    except ApiError as error:
        _fail(parts, task_id, image_id, error, at)


def _is_placed(parts: Parts, task_id: str, begun: Begun, brought: _Brought, at: Target) -> bool:
    """Whether the data have come to the store. Raises: ApiError if not, and they must."""
    try:
        try:
            _place(parts, begun.declared.id, brought, at.folder)
        except OSError as error:
            raise sink.storage_error(error) from error
    except ApiError as error:
        if begun.must_succeed:
            raise
        log.info("an import to a store failed", task=task_id, store=at.name, reason=error.message)
        parts.database.write(lambda tx: imports.note_failure(tx, task_id, begun, at))
        return False
    noted = partial(
        imports.note_place, task_id=task_id, begun=begun, target=at, received=brought.received, result=brought.found
    )
    parts.database.write(noted)
    return True


def _place(parts: Parts, image_id: str, brought: _Brought, folder: str) -> None:
    """Give a store the data under their name, durably. Raises: ApiError, OSError."""
    final = data.path_of(parts.settings, image_id, folder)
    if brought.is_staged and brought.files[0].parent == final.parent:
        sink.link(brought.files[0], final)
        return
    for source in brought.files:
        temporary = data.new_upload(parts.settings, image_id, folder)
        is_whole = False
        try:
            is_whole = sink.copy(source, temporary, brought.received.sha256, parts.imports.go_on)
            if is_whole:
                sink.rename(temporary, final)
                return
        finally:
            if not is_whole:
                temporary.unlink(missing_ok=True)
    raise ApiError("Image not found in any configured store")


def _fail(parts: Parts, task_id: str, image_id: str, error: ApiError, at: Target | None) -> None:
    log.info("an import failed", task=task_id, image=image_id, reason=error.message)
    parts.database.write(lambda tx: imports.fail(tx, parts.settings, task_id, image_id, error, at))


def _inspected(parts: Parts, begun: Begun, file: Path, received: Received) -> _Brought:
    found = sink.settle(file, begun.declared, parts.settings.operator.image)
    return _Brought([file], received, found, is_staged=True)


def _copied(parts: Parts, image_id: str, begun: Begun) -> _Brought:
    """What stores have already. Raises: ApiError if none has it after all."""
    with parts.database.read() as tx:
        paths, size, sha256 = imports.source_of(tx, parts.settings, image_id)
    whole = [path for path in paths if path.is_file() and path.stat().st_size == size]
    return _Brought(whole, Received(size, "", sha256, ""), None, is_staged=False)


def _staged(parts: Parts, image_id: str, begun: Begun) -> _Brought:
    staged, digests = data.staged_path(parts.settings, image_id), sink.Digests()
    with staged.open("rb") as file:
        while piece := file.read(sink.CHUNK_BYTES):
            parts.imports.go_on()
            digests.update(piece)
    return _inspected(parts, begun, staged, digests.received())


def _downloaded(parts: Parts, image_id: str, place: fetch.Place, begun: Begun) -> _Brought:
    """Under a name of its own, until it is inspected. Raises: what `fetch.opened` does; OSError."""
    options, most_bytes = parts.settings.operator.image, begun.most_bytes
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
        received = into.finish()
    finally:
        into.close()
    return _inspected(parts, begun, path, received)
