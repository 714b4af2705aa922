"""`addFixedIp` and `removeFixedIp`: actions of servers until 2.43, where later versions have ports.

Source: nova/api/openstack/compute/multinic.py.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.compute.bodies import Body
from deuteron.api.compute.versions import only_until
from deuteron.model.codecs import quoted
from deuteron.rules.compute import fixed_ips
from deuteron.rules.compute.faults import invalid
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.store.database import Tx

_LAST: Final = 43
_LONGEST: Final = 36


def add(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    """Raises: BadRequest, NotFound."""
    only_until(call, _LAST)
    given = Body("addFixedIp", body).only((), ("networkId",)).raw["networkId"]
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise invalid("networkId", given, f"{quoted(given)} is not of type 'string', 'number'")
    if not 1 <= len(str(given)) <= _LONGEST:
        raise invalid("networkId", given, f"'{quoted(given)}' is too {'long' if str(given) else 'short'}")
    fixed_ips.add(tx, call.settings, call.caller, row, str(given))
    return Reply(202)


def take(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    """Raises: BadRequest."""
    only_until(call, _LAST)
    wanted = Body("removeFixedIp", body).only((), ("address",))
    fixed_ips.take(tx, call.settings, call.caller, row, _address(wanted.raw["address"]))
    return Reply(202)


def _address(given: Any) -> str:
    """An address of either family in its short form. Raises: BadRequest."""
    try:
        # A zone (`%eth0`) is of one host only, so no address for others.
        return str(ipaddress.ip_address(given if isinstance(given, str) and "%" not in given else ""))
    except ValueError:
        raise invalid("address", given, f"'{quoted(given)}' is not valid under any of the given schemas") from None
