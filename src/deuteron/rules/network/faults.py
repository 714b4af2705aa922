"""Neutron's errors by name: type, status and words as its clients know them.

Source: neutron-lib, neutron_lib/exceptions/*.py; answers recorded from Neutron 29.
"""

from __future__ import annotations

from deuteron.model.errors import ApiError, BadRequest, Conflict, Forbidden, NotFound
from deuteron.model.network import RESOURCES
from deuteron.model.network.rows import PortRow

_NOT_FOUND = {
    **{resource.name: resource.missing for resource in RESOURCES if resource.missing is not None},
    "agent": ("AgentNotFound", "Agent {} could not be found."),
    "extension": ("ExtensionNotFound", "Extension {} could not be found."),
}


class PreconditionFailed(ApiError):
    """The object has another revision than the client's If-Match names."""

    status = 412
    default_type = "RevisionNumberConstraintFailed"


def not_found(kind: str, object_id: str, parent_id: str = "") -> NotFound:
    """`parent_id` is of the object that it was looked for in, where its kind is nested in another."""
    type_, words = _NOT_FOUND[kind]
    return NotFound(words.format(object_id, parent_id), type=type_)


def http_bad_request(message: str) -> BadRequest:
    """What Neutron's controller refuses before any rule looks at the body."""
    return BadRequest(message, type="HTTPBadRequest")


def invalid_value(attribute: str, reason: str) -> BadRequest:
    return http_bad_request(f"Invalid input for {attribute}. Reason: {reason}.")


def invalid_input(reason: str) -> BadRequest:
    return BadRequest(f"Invalid input for operation: {reason}.", type="InvalidInput")


def bad_request(resource: str, reason: str) -> BadRequest:
    return BadRequest(f"Bad {resource} request: {reason}.", type="BadRequest")


def refused(type_: str, message: str) -> BadRequest:
    """400 of a named type."""
    return BadRequest(message, type=type_)


def conflict(type_: str, message: str, hint: str | None = None) -> Conflict:
    """409 of a named type."""
    return Conflict(message, type=type_, hint=hint)


def missing(type_: str, message: str) -> NotFound:
    """404 of a named type."""
    return NotFound(message, type=type_)


def not_authorized(rules: list[str]) -> Forbidden:
    text = f"rule:{rules[0]}" if len(rules) == 1 else "(" + " and ".join(f"rule:{rule}" for rule in rules) + ")"
    return Forbidden(f"{text} is disallowed by policy", type="PolicyNotAuthorized")


def over_quota(resources: list[str]) -> Conflict:
    return conflict("OverQuota", f"Quota exceeded for resources: {resources}.")


def network_in_use(network_id: str, port_ids: list[str]) -> Conflict:
    return conflict(
        "NetworkInUse",
        f"Unable to complete operation on network {network_id}. There are one or more ports still in use on the "
        f"network, id for these ports is: {','.join(port_ids)}.",
    )


def subnet_in_use(subnet_id: str, reason: str = "One or more ports have an IP allocation from this subnet") -> Conflict:
    return conflict("SubnetInUse", f"Unable to complete operation on subnet {subnet_id}: {reason}.")


def address_taken(address: str, subnet_id: str) -> Conflict:
    return conflict("IpAddressAlreadyAllocated", f"IP address {address} already allocated in subnet {subnet_id}")


def addresses_exhausted(network_id: str) -> Conflict:
    return conflict("IpAddressGenerationFailure", f"No more IP addresses available on network {network_id}.")


def subnet_exhausted(subnet_id: str) -> Conflict:
    return conflict("IpAddressGenerationFailureForSubnet", f"No more IP addresses available for subnet {subnet_id}.")


def unknown_zone(name: str) -> NotFound:
    return missing("AvailabilityZoneNotFound", f"AvailabilityZone {name} could not be found.")


def port_in_use(port: PortRow) -> Conflict:
    return conflict(
        "PortInUse",
        f"Unable to complete operation on port {port['id']} for network {port['network_id']}. "
        f"Port already has an attached device {port['device_id']}.",
    )
