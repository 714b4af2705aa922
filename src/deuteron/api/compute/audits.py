"""GET /os-instance_usage_audit_log: which hosts have noted what their servers used in the last month that is over.

No host here makes such notes, as in a Nova whose `instance_usage_audit` is off, its default: every host is said not to
have run. What servers used is in `os-simple-tenant-usage`.

Source: nova/api/openstack/compute/instance_usage_audit_log.py; nova/utils.py `last_completed_audit_period`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access
from deuteron.model.errors import BadRequest
from deuteron.rules.compute import hosts
from deuteron.store.database import Tx


def list_all(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-instance-usage-audit-log:list")
    return Reply(200, {"instance_usage_audit_logs": _log(call, tx, tx.now.astimezone(UTC).replace(tzinfo=None))})


def show(call: Call, tx: Tx) -> Reply:
    """The same, as of a moment. Raises: BadRequest."""
    access.require(call, "os-instance-usage-audit-log:show")
    text = call.params["id"]
    try:
        before = datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f" if "." in text else "%Y-%m-%d %H:%M:%S")
    except ValueError:
        raise BadRequest(
            f"Invalid timestamp for date {text}: YYYY-MM-DD hh:mm:ss is expected", type="HTTPBadRequest"
        ) from None
    return Reply(200, {"instance_usage_audit_log": _log(call, tx, before)})


def _log(call: Call, tx: Tx, before: datetime) -> dict[str, Any]:
    end = datetime(before.year, before.month, 1)
    if end >= before:
        end = _month_before(end)
    names = sorted(host.name for host in hosts.listed(tx, call.settings))
    return {
        "period_beginning": str(_month_before(end)),
        "period_ending": str(end),
        "num_hosts": len(names),
        "num_hosts_done": 0,
        "num_hosts_running": 0,
        "num_hosts_not_run": len(names),
        "hosts_not_run": names,
        "total_instances": 0,
        "total_errors": 0,
        "overall_status": f"{'ALL' if not names else f'0 of {len(names)}'} hosts done. 0 errors.",
        "log": {},
    }


def _month_before(first: datetime) -> datetime:
    """Raises: BadRequest before there is a year."""
    if first.year == 1 and first.month == 1:
        raise BadRequest("Invalid timestamp: there is no month before it", type="HTTPBadRequest")
    return first.replace(year=first.year - 1, month=12) if first.month == 1 else first.replace(month=first.month - 1)
