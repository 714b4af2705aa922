"""The answers of /v2.0/quotas."""

from __future__ import annotations

from typing import Final

from deuteron.api.call import Call, Reply
from deuteron.api.network import bodies
from deuteron.model.codecs import Integer, Invalid
from deuteron.model.errors import Forbidden
from deuteron.model.network import QUOTA_DEFAULTS
from deuteron.model.scalars import ProjectId
from deuteron.rules.network import faults
from deuteron.rules.network import quotas as rules
from deuteron.store.database import Tx

_PROJECT: Final = ("tenant_id", "project_id")


def list_all(call: Call, tx: Tx) -> Reply:
    """GET /quotas: projects with limits of their own."""
    _require(call)
    shown = [{**own, "project_id": id, "tenant_id": id} for id, own in rules.all_own(tx).items()]
    return Reply(200, {"quotas": shown})


def show(call: Call, tx: Tx) -> Reply:
    """GET /quotas/{project}"""
    project_id = _readable(call)
    return Reply(200, {"quota": rules.limits(tx, project_id)})


def show_own(call: Call, tx: Tx) -> Reply:
    """GET /quotas/project, and under its older name /quotas/tenant: which project the caller's limits are of."""
    word = "tenant" if call.path.endswith("tenant") else "project"
    return Reply(200, {word: {f"{word}_id": call.caller.project_id}})


def show_default(call: Call, tx: Tx) -> Reply:
    """GET /quotas/{project}/default"""
    _readable(call)
    return Reply(200, {"quota": dict(QUOTA_DEFAULTS)})


def show_details(call: Call, tx: Tx) -> Reply:
    """GET /quotas/{project}/details"""
    project_id = ProjectId(call.params["project"])
    if project_id != call.caller.project_id and not _may(call, "get_quota"):
        raise Forbidden("Only an administrator may see the quotas of another project", type="AdminRequired")
    return Reply(
        200,
        {
            "quota": {
                name: {"limit": allowed, "used": rules.used(tx, name, project_id), "reserved": 0}
                for name, allowed in rules.limits(tx, project_id).items()
            }
        },
    )


def update(call: Call, tx: Tx) -> Reply:
    """PUT /quotas/{project}; a limit below what is used is refused unless `force`, whatever `check_limit` says.

    Source: neutron/extensions/quotasv2.py.
    """
    _require(call)
    project_id = ProjectId(call.params["project"])
    body = bodies.one(call, "quota")
    wanted = {name: value for name, value in body.items() if name not in ("force", "check_limit")}
    unknown = [name for name in wanted if name not in QUOTA_DEFAULTS and name not in _PROJECT]
    if any(name in wanted for name in _PROJECT):
        # The one stands for the other, as in all bodies; here the path names the project.
        unknown += _PROJECT
    if unknown:
        raise faults.http_bad_request(f"Unrecognized attribute(s) '{', '.join(unknown)}'")
    decoded: dict[str, int] = {}
    for name, raw in wanted.items():
        try:
            number = Integer().decode(raw)
        except Invalid as error:
            raise faults.invalid_input(error.reason) from None
        try:
            decoded[name] = Integer(-1, 2**31 - 1).decode(number)
        except Invalid as error:
            raise faults.invalid_value(name, error.reason) from None
    rules.set_limits(tx, project_id, decoded, below_use=body.get("force") is True)
    return Reply(200, {"quota": rules.limits(tx, project_id)})


def reset(call: Call, tx: Tx) -> Reply:
    """DELETE /quotas/{project}: back to the defaults."""
    _require(call)
    rules.reset(tx, ProjectId(call.params["project"]))
    return Reply(204)


def _readable(call: Call) -> ProjectId:
    project_id = ProjectId(call.params["project"])
    if project_id != call.caller.project_id:
        _require(call)
    return project_id


def _require(call: Call) -> None:
    rule = {"GET": "get_quota", "DELETE": "delete_quota"}.get(call.method, "update_quota")
    if not _may(call, rule):
        raise faults.not_authorized([rule])


def _may(call: Call, rule: str) -> bool:
    target = {"project_id": call.params["project"]} if "project" in call.params else {}
    return call.policy.check(call.caller, rule, target)
