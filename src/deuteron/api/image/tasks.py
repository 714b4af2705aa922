"""The requests about tasks: an administrator's list of them, those of one image, and the older way to import one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from deuteron.api.call import Call, Reply
from deuteron.api.image import files, staging
from deuteron.api.image.images import make_image
from deuteron.api.image.policies import require, target
from deuteron.api.links import page_from
from deuteron.model.codecs import is_uuid, quoted
from deuteron.model.errors import BadRequest, NotAllowed
from deuteron.model.image import TASK
from deuteron.model.image_rows import TaskRow
from deuteron.rules.image import images, imports, tasks
from deuteron.store import listing
from deuteron.store.database import Tx

_TIMES = ("expires_at", "created_at", "updated_at")
OF_ONE = ("input", "result", "message")
"""What a list does not show."""


def list_tasks(call: Call, tx: Tx) -> Reply:
    """Newest first unless the query sorts otherwise."""
    require(call, "tasks_api_access", {})
    asked = listing.read(call.query, tasks.WORDS)
    if asked.marker is not None and not is_uuid(asked.marker):
        raise BadRequest("Invalid marker format")
    page = tasks.page(tx, asked)
    query = [(key, value) for key, value in call.query if key != "marker"]
    body: dict[str, Any] = {
        "tasks": [_shown(row, but=OF_ONE) for row in page.rows],
        "first": "/v2/tasks" + (f"?{urlencode(query)}" if query else ""),
        "schema": "/v2/schemas/tasks",
    }
    if page.more:
        body["next"] = page_from("/v2/tasks", query, page.rows[-1]["id"])
    return Reply(200, body)


async def create_task(call: Call) -> Reply:
    """POST /v2/tasks: make an image and download its data. Raises: BadRequest, Forbidden, TooLarge."""
    require(call, "tasks_api_access", {})
    await call.read_body()
    given = _read(call)
    place = await staging.resolved(call, given["import_from"], "legacy import task")
    task = await files.write(call, lambda tx: _begin(call, tx, given))
    staging.start_download(call.parts, task, place)
    return Reply(201, _shown(task), {"Location": f"{call.base_url}/image/v2/tasks/{task['id']}"})


def _read(call: Call) -> Mapping[str, Any]:
    """The input of the task that the body asks for. Raises: BadRequest."""
    body = call.json()
    for name in ("type", "input"):
        if not isinstance(body, dict) or name not in body:
            raise BadRequest(f"Task '{name}' is required")
    unknown = sorted(body.keys() - {"type", "input"})
    if unknown or body["type"] != "import" or not isinstance(body["input"], dict):
        wrong = unknown[0] if unknown else f"{quoted(body['type'])} of {quoted(body['input'])}"
        raise BadRequest(f"Provided object does not match schema 'task': {wrong}; accepted: an input of type 'import'")
    given: dict[str, Any] = body["input"]
    for name in ("import_from", "import_from_format", "image_properties"):
        if name not in given:
            raise BadRequest(f"Input does not contain '{name}' field")
    if given.keys() - {"import_from", "import_from_format", "image_properties"}:
        raise BadRequest(
            "Input contains what no task takes; accepted: import_from, import_from_format, image_properties"
        )
    if not isinstance(given["image_properties"], dict):
        raise BadRequest("Input's 'image_properties' is no object")
    return given


def _begin(call: Call, tx: Tx, given: Mapping[str, Any]) -> TaskRow:
    asked = given["image_properties"] or {"disk_format": "qcow2", "container_format": "bare"}
    if asked.get("disk_format") != given["import_from_format"]:
        raise BadRequest(
            f"Images are not converted: import_from_format is {quoted(given['import_from_format'])}, the image's "
            f"disk_format {quoted(asked.get('disk_format'))}"
        )
    row = make_image(call, tx, asked)
    return imports.begin_whole(tx, call.caller, call.settings.operator.image, row, given, call.request_id)


def show_task(call: Call, tx: Tx) -> Reply:
    require(call, "tasks_api_access", {})
    return Reply(200, _shown(tasks.find(tx, call.params["task_id"])))


def delete_task(call: Call, tx: Tx) -> Reply:
    """Raises: NotAllowed always: tasks go by themselves."""
    require(call, "tasks_api_access", {})
    raise NotAllowed(
        "This operation is currently not permitted on Glance Tasks. They are auto deleted after reaching the time "
        "based on their expires_at property.",
        detail="GET",
    )


def list_tasks_of_image(call: Call, tx: Tx) -> Reply:
    """Those that the caller's project asked for."""
    row = images.find_visible(tx, call.caller, call.params["id"])
    require(call, "get_image", target(call.caller, row))
    return Reply(200, {"tasks": [_raw(task) for task in tasks.of_image(tx, call.caller, row["id"])]})


def _raw(row: Mapping[str, Any]) -> dict[str, Any]:
    """The task as Glance shows it below its image: as its database has it."""
    return {**row, "deleted": False, "deleted_at": None}


def _shown(row: Mapping[str, Any], but: tuple[str, ...] = ()) -> dict[str, Any]:
    """The task as answers show it; what is nothing is left out."""
    optional = ("image_id", "request_id", "user_id", "expires_at")
    shown = {
        attribute.name: row[attribute.name]
        for attribute in TASK.attributes
        if attribute.name not in but and (row[attribute.name] is not None or attribute.name not in optional)
    }
    for name in _TIMES:
        if name in shown:
            shown[name] = shown[name][:19] + "Z"
    return {**shown, "self": f"/v2/tasks/{row['id']}", "schema": "/v2/schemas/task"}
