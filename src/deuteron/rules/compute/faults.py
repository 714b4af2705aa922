"""Nova's errors: type, status and the sentences that many rules share.

Source: nova/exception.py.
"""

from __future__ import annotations

from typing import Any

from deuteron.model.codecs import quoted
from deuteron.model.errors import ApiError, BadRequest, Conflict, Forbidden, NotFound


class NotBuilt(ApiError):
    """Nova can do it, this cloud cannot (yet), and says so."""

    status = 501
    default_type = "NotImplemented"


def not_built(what: str, instead: str = "") -> NotBuilt:
    return NotBuilt(f"{what} is not available in this cloud.{' ' + instead if instead else ''}")


def no_server(server_id: str) -> NotFound:
    return NotFound(f"Instance {server_id} could not be found.", type="InstanceNotFound")


def no_flavor(flavor_id: str) -> NotFound:
    return NotFound(f"Flavor {flavor_id} could not be found.", type="FlavorNotFound")


def wrong_state(action: str, server_id: str, attribute: str, state: Any) -> Conflict:
    return Conflict(
        f"Cannot '{action}' instance {server_id} while it is in {attribute} {state}", type="InstanceInvalidState"
    )


def never_active(action: str, server_id: str) -> Conflict:
    return Conflict(f"Cannot '{action}' instance {server_id} which has never been active", type="InstanceNotLaunched")


def locked(server_id: str) -> Conflict:
    return Conflict(f"Instance {server_id} is locked", type="InstanceIsLocked")


def over_quota(resource: str, requested: int, used: int, limit: int) -> Forbidden:
    return Forbidden(
        f"Quota exceeded for {resource}: Requested {requested}, but already used {used} of {limit} {resource}",
        type="OverQuota",
    )


def invalid(path: str, value: Any, why: str) -> BadRequest:
    """In the words of Nova's schema validation."""
    return BadRequest(
        f"Invalid input for field/attribute {path}. Value: {quoted(value)}. {why}", type="ValidationError"
    )
