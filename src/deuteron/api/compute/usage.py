"""Usage of projects as requests ask for it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access, paging
from deuteron.model.errors import BadRequest
from deuteron.rules.compute import usage
from deuteron.rules.compute.usage import Span
from deuteron.store.database import Tx
from deuteron.store.listing import Listing
from deuteron.store.query import Order

_FORMS = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S.%f")


def list_all(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-simple-tenant-usage:list")
    span = _span(call, tx.now)
    items, links = _page(call, tx, span, None, "tenant_usages", "os-simple-tenant-usage")
    by_project: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        by_project.setdefault(item["tenant_id"], []).append(item)
    detailed = call.get("detailed") == "1"
    shown = [_summary(project, found, span, detailed) for project, found in by_project.items()]
    return Reply(200, {"tenant_usages": shown, **links})


def show(call: Call, tx: Tx) -> Reply:
    project_id = call.params["id"]
    access.require(call, "os-simple-tenant-usage:show", project_id=project_id)
    span = _span(call, tx.now)
    items, links = _page(call, tx, span, project_id, "tenant_usage", f"os-simple-tenant-usage/{project_id}")
    return Reply(200, {"tenant_usage": _summary(project_id, items, span, True) if items else {}, **links})


def _page(
    call: Call, tx: Tx, span: Span, project_id: str | None, name: str, path: str
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What each server used, by project and id; from 2.40 on page by page."""
    listing = Listing(usage.ran(span, project_id), (), [Order("project_id"), Order("id")])
    rows, links = paging.page(call, tx, listing, name, path, is_paged=call.version >= 40)
    return [usage.usage(row, span, tx.now) for row in rows], links


def _summary(project_id: str, items: list[dict[str, Any]], span: Span, detailed: bool) -> dict[str, Any]:
    total = usage.summary(project_id, items, span)
    return {**total, "server_usages": items} if detailed else total


def _span(call: Call, now: datetime) -> Span:
    """From when to when, at most until now; what is not given is now, as in Nova. Raises: BadRequest."""
    start, end = _time(call, "start") or now, _time(call, "end") or now
    given = call.get("start") or call.get("end")
    if start > end or (given and start == end):
        raise BadRequest("Invalid start time. The start time cannot occur after the end time.", type="HTTPBadRequest")
    return Span(start, min(end, now))


def _time(call: Call, name: str) -> datetime | None:
    text = call.get(name)
    if not text:
        return None
    for form in _FORMS:
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise BadRequest(
        f"Invalid input for query parameters {name}. Value: {text}. Datetime is in invalid format: "
        "YYYY-MM-DDThh:mm:ss is expected",
        type="InvalidStrTime",
    )
