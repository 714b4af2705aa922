"""Attributes that a client gives: decoded by their declaration, refused in Neutron's order and words.

Source: openstack/neutron, neutron/api/v2/base.py (`prepare_request_body`); neutron-lib,
neutron_lib/api/attributes.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from deuteron.model import resource as resources
from deuteron.model.caller import Caller
from deuteron.model.codecs import Integer, Invalid, TooMany, quoted
from deuteron.model.errors import ApiError
from deuteron.model.network import RESOURCES, Choice
from deuteron.model.network.codecs import GivenText, Named, OwnerOrNone
from deuteron.model.network.dns import NOT_A_TEXT
from deuteron.model.network.order import looked_at
from deuteron.model.resource import Attribute, Resource, RowT, Words
from deuteron.rules.network import faults, rule_values
from deuteron.store.query import Values

_ORDER = {resource.name: looked_at(resource) for resource in RESOURCES}
_SUBNET = "Unable to complete operation for subnet. The number of "
_EXHAUSTED = {
    "dns_nameservers": ("DNSNameServersExhausted", _SUBNET + "DNS nameservers exceeds the limit {}."),
    "host_routes": ("HostRoutesExhausted", _SUBNET + "host routes exceeds the limit {}."),
    "routes": ("RoutesExhausted", "Unable to complete operation. The number of routes exceeds the maximum {}."),
    "allowed_address_pairs": (
        "AddressPairsExhausted",
        "The number of allowed address pair exceeds the maximum {}.",
    ),
}
"""Lists whose excess has a type of its own."""


def decode_create(resource: Resource[RowT], body: Mapping[str, Any], caller: Caller) -> Values:
    """The attributes of a create body, decoded; those with a default that stands for itself filled in.

    An attribute whose default is None is left out when the body is silent, so that rules can tell "not said"
    from null. Raises: BadRequest.
    """
    owner = resource.by_name.get("project_id")
    owned = body if owner is None else _with_owner(body, caller, may_be_none=isinstance(owner.codec, OwnerOrNone))
    return resources.decode_create(resource, owned, WORDS, _ORDER[resource.name])


def decode_update(resource: Resource, body: Mapping[str, Any]) -> Values:
    """The attributes of an update body, decoded. Raises: BadRequest."""
    return resources.decode_update(resource, body, WORDS, _ORDER[resource.name])


def decode(attribute: Attribute, raw: Any) -> Any:
    """The stored form of one value. Raises: BadRequest in Neutron's words."""
    return resources.decode_value(attribute, raw, WORDS)


def too_many(attribute: Attribute, limit: int) -> ApiError:
    """What Neutron says of one of the lists that have a limit of their own."""
    type_, words = _EXHAUSTED[attribute.name]
    return faults.refused(type_, words.format(limit))


def _refusal(attribute: Attribute, error: Invalid) -> ApiError:
    # What Neutron converts it refuses as InvalidInput, what it validates as HTTPBadRequest.
    if isinstance(error, TooMany) and attribute.name in _EXHAUSTED:
        return too_many(attribute, error.limit)
    if attribute.name in ("port_range_min", "port_range_max"):
        return faults.refused("SecurityGroupInvalidPortValue", f"Invalid value for port {quoted(error.value)}")
    if attribute.name == "service_type":
        return faults.refused("InvalidServiceType", f"Invalid service type: {error.value}.")
    if isinstance(error, Named):
        is_input = error.name == "InvalidInput"
        return faults.invalid_input(error.reason) if is_input else faults.refused(error.name, error.reason)
    if isinstance(attribute.codec, GivenText) and (told := rule_values.refusal(attribute.name, error.value)):
        return told
    if attribute.name == "protocol" and not rule_values.may_be_protocol(error.value):
        return faults.invalid_input(f"IP protocol '{quoted(error.value)}' is not supported; {error.reason}")
    if (
        attribute.name in ("target_tenant", "object_type")
        or (attribute.name == "segments" and error.reason.endswith("is not an integer"))
        or error.reason.endswith(("cannot be converted to boolean", NOT_A_TEXT))
        or (isinstance(attribute.codec, Integer | Choice) and error.reason.endswith("is not an integer"))
    ):
        return faults.invalid_input(error.reason)
    return faults.invalid_value(attribute.name, error.reason)


def refuse_others(body: Mapping[str, Any], known: Collection[str]) -> None:
    """Raises: BadRequest for a name that is not known."""
    unknown = [name for name in body if name not in known]
    if unknown:
        raise _unknown("", unknown)


def _unknown(verb: str, names: Sequence[str]) -> ApiError:
    return faults.http_bad_request(f"Unrecognized attribute(s) '{', '.join(names)}'")


def _read_only(verb: str, names: Sequence[str]) -> ApiError:
    if verb == "create":
        return faults.http_bad_request(f"Attribute '{', '.join(names)}' not allowed in POST")
    return faults.http_bad_request(f"Cannot update read-only attribute {', '.join(names)}")


def _missing(name: str) -> ApiError:
    return faults.http_bad_request(f"Failed to parse request. Required attribute '{name}' not specified")


WORDS = Words(
    unknown=_unknown,
    read_only=_read_only,
    missing=_missing,
    invalid=_refusal,
    missing_first=True,
    keeps_silence=True,
)
"""Neutron's."""


def refuse_foreign_owner(body: Mapping[str, Any], caller: Caller) -> None:
    """Raises: BadRequest for another project than the caller's, for who may not speak for others."""
    _with_owner(body, caller)


def _with_owner(body: Mapping[str, Any], caller: Caller, *, may_be_none: bool = False) -> Values:
    """The body with `project_id` set, from `tenant_id` or the caller. Raises: BadRequest."""
    values = dict(body)
    if may_be_none and body.get("project_id", "") is None:
        if not caller.is_admin:
            raise _not_its_own()
        return values
    if None in (body.get("project_id", ""), body.get("tenant_id", "")):
        raise faults.invalid_value("tenant_id", "'None' is not a valid string")
    project, tenant = values.get("project_id"), values.pop("tenant_id", None)
    if project is not None and tenant is not None and project != tenant:
        raise faults.http_bad_request("'project_id' and 'tenant_id' do not match")
    owner = project if project is not None else tenant
    if owner is None:
        if caller.project_id is None:
            raise faults.http_bad_request("Running without a project requires that project_id is specified")
        values["project_id"] = caller.project_id
    else:
        if owner != caller.project_id and not (caller.is_admin or caller.is_service):
            raise _not_its_own()
        values["project_id"] = owner
    return values


def _not_its_own() -> ApiError:
    return faults.http_bad_request(
        "Specifying 'project_id' other than the authenticated project in request is not allowed for the current user."
    )
