"""The requests about tasks: an administrator's list of them, and those of one image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from deuteron.api.call import Call, Reply
from deuteron.api.image.policies import require, target
from deuteron.api.links import page_from
from deuteron.model.codecs import is_uuid
from deuteron.model.errors import BadRequest, NotAllowed
from deuteron.model.image import TASK
from deuteron.rules.image import images, tasks
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
