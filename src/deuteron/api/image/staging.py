"""Interoperable import: data are staged, or lie elsewhere, and become an image's after the request was answered.

    PUT /v2/images/{id}/stage     to `.staged-<id>`; the image is `uploading`
    POST /v2/images/{id}/import   a task is made, the image is `importing`, and a job does the rest

The job hashes and inspects what was staged, as an upload is, and gives it the name of the image's data. If it fails,
the task says why, and the image is queued again. If the process ends meanwhile, what was staged can be imported again.

Source: Glance api-ref, "Interoperable image import"; glance/api/v2/images.py, image_data.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

import structlog

from deuteron.api.call import Call, Reply
from deuteron.api.image import files, sink
from deuteron.api.image.policies import require, target
from deuteron.api.jobs import Jobs
from deuteron.api.parts import Parts
from deuteron.model.codecs import quoted, whole_number
from deuteron.model.errors import ApiError, BadRequest, NotFound
from deuteron.model.image_rows import TaskRow
from deuteron.rules.image import data, imports
from deuteron.rules.image.data import Received
from deuteron.rules.image.images import find_visible
from deuteron.store.database import Tx

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
    task = await files.write(call, lambda tx: _begin_import(call, tx, request))
    parts = call.parts
    parts.imports.start(partial(_run, parts, parts.imports, task["id"], call.params["id"]))
    return Reply(202)


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
    if body.get("stores") or body.get("all_stores") or "x-image-meta-store" in call.headers:
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


def _run(parts: Parts, jobs: Jobs, task_id: str, image_id: str) -> None:
    """The job of an import. Raises: Interrupted."""
    settings, store = parts.settings, parts.database
    options = settings.operator.image
    try:
        begun = store.write(lambda tx: imports.start(tx, options, task_id, image_id))
        staged, final = data.staged_path(settings, image_id), data.path_of(settings, image_id)
        try:
            received = _hashed(jobs, staged)
            found = sink.settle(staged, begun.declared, options)
            jobs.go_on()
            sink.link(staged, final)
        except OSError as error:
            raise sink.storage_error(error) from error
        store.write(lambda tx: imports.finish(tx, task_id, begun.declared, received, found))
        staged.unlink(missing_ok=True)
    except ApiError as error:
        _fail(parts, task_id, image_id, error)


def _fail(parts: Parts, task_id: str, image_id: str, error: ApiError) -> None:
    log.info("an import failed", task=task_id, image=image_id, reason=error.message)
    parts.database.write(lambda tx: imports.fail(tx, parts.settings, task_id, image_id, error))


def _hashed(jobs: Jobs, staged: Any) -> Received:
    digests = sink.Digests()
    with staged.open("rb") as file:
        while piece := file.read(sink.CHUNK_BYTES):
            jobs.go_on()
            digests.update(piece)
    return digests.received()
