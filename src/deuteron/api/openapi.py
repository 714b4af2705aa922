"""The OpenAPI document of the cloud, made from the route tables and the declarations of resources.

Why: clients, tests and people read it, and nobody has to keep it: what a service routes is a path here, what a
declaration says about an attribute is its schema. Rules across attributes are code and are not in it; a body that
fits its schema may still be refused.

Where no declaration fits a path, its body is any JSON object.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from deuteron.api.call import Route, Service
from deuteron.model import identity, network, volume
from deuteron.model.image import IMAGE
from deuteron.model.resource import REQUIRED, Attribute, Resource

VERSION: Final = "3.1.0"

DECLARED: Final[Mapping[str, tuple[Resource[Any], ...]]] = {
    "network": network.RESOURCES,
    "identity": (
        identity.PROJECT, identity.DOMAIN, identity.USER, identity.GROUP, identity.ROLE, identity.REGION,
        identity.SERVICE, identity.ENDPOINT, identity.CREDENTIAL,
    ),
    "image": (IMAGE,),
    "volume": (volume.VOLUME, volume.SNAPSHOT, volume.VOLUME_TYPE, volume.BACKUP, volume.GROUP,
        volume.GROUP_SNAPSHOT, volume.GROUP_TYPE, volume.TRANSFER, volume.MESSAGE),
}  # fmt: skip
"""The resources whose bodies follow their declaration."""

_BARE: Final = frozenset({"image"})
"""Services whose bodies are the object itself, not an object under the resource's name."""

_MADE: Final[Mapping[str, HTTPStatus]] = {
    "volume.volume_type": HTTPStatus.OK,
    **dict.fromkeys(
        (
            "volume.volume",
            "volume.volume_snapshot",
            "volume.backup",
            "volume.transfer",
            "volume.volume_group",
            "volume.group_snapshot",
            "volume.group_type",
        ),
        HTTPStatus.ACCEPTED,
    ),
}
"""What is answered to who makes one, where that is not 201."""
_JSON: Final = "application/json"
_ERRORS: Final[Mapping[str, Any]] = {
    "network": {"NeutronError": {"type": "string", "message": "string", "detail": "string"}},
    "identity": {"error": {"code": "integer", "title": "string", "message": "string"}},
    "root": {"error": {"code": "integer", "title": "string", "message": "string"}},
}


def document(services: Sequence[Service], url: str) -> dict[str, Any]:
    """The whole document; `url` is where clients reach the cloud."""
    paths: dict[str, dict[str, Any]] = {}
    schemas: dict[str, Any] = {f"{name}.error": _error(names) for name, names in _ERRORS.items()}
    for service in services:
        for route in service.routes():
            place = (service.prefix + re.sub(r"\.\.\.\}", "}", route.path)).rstrip("/") or "/"
            paths.setdefault(place, {})[route.method.lower()] = _operation(service, route)
        for resource in DECLARED.get(service.name, ()):
            schemas |= _schemas(service.name, resource)
    return {
        "openapi": VERSION,
        "info": {"title": "Deuteron", "version": "0.1.0", "summary": "OpenStack's APIs, of one small cloud."},
        "servers": servers(url),
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
        },
        "paths": dict(sorted(paths.items())),
    }


def servers(url: str) -> list[dict[str, str]]:
    """The part of the document that says where the cloud is."""
    return [{"url": url}]


def _operation(service: Service, route: Route) -> dict[str, Any]:
    found = _resource(service.name, route.path)
    names = re.findall(r"\{([a-z_]+)", route.path)
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for name in names
    ]
    parameters += [
        {"name": name, "in": "query", "required": is_needed, "schema": {"type": "string"}}
        for name, is_needed in route.query.items()
    ]
    operation: dict[str, Any] = {
        "operationId": re.sub(r"[^a-z0-9]+", "_", f"{route.method}{service.prefix}{route.path}".lower()).strip("_"),
        "tags": [service.name],
        "responses": {"default": _answer("an error in the service's words", _reference(service.name, "error"))},
    }
    success, schema = HTTPStatus.OK, None
    if found is not None:
        resource, of_one = found
        if route.method == "GET" and not of_one:
            parameters += [_filter(item) for item in resource.attributes if item.filter and item.stored and item.read]
            schema = _listed(service.name, resource)
        elif route.method != "DELETE":
            schema = _wrapped(service.name, resource, "")
        if route.method == "POST":
            success = _MADE.get(f"{service.name}.{resource.name}", HTTPStatus.CREATED)
    if route.method in ("POST", "PUT", "PATCH"):
        operation["requestBody"] = {"required": True, "content": _request(service.name, route, found)}
    if route.method != "DELETE":
        operation["responses"][str(success.value)] = _answer(success.phrase, schema)
    else:
        operation["responses"]["204"] = {"description": HTTPStatus.NO_CONTENT.phrase}
    if parameters:
        operation["parameters"] = parameters
    if route.auth:
        operation["security"] = [{"token": []}]
    return operation


def _resource(service: str, path: str) -> tuple[Resource, bool] | None:
    """The declaration that a path is about, and whether the path names one object; None for all other paths."""
    parts = [part for part in path.split("/") if part][1:]
    for resource in DECLARED.get(service, ()):
        here = resource.path.split("/")
        if parts == here:
            return resource, False
        if parts == [*here, "{id}"]:
            return resource, True
    return None


def _request(service: str, route: Route, found: tuple[Resource, bool] | None) -> dict[str, Any]:
    if route.path.endswith(("/file", "/stage")):
        return {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    if service == "image" and route.method == "PATCH":
        change = {
            "type": "object",
            "properties": {"op": {"enum": ["add", "replace", "remove"]}, "path": {"type": "string"}, "value": {}},
            "required": ["op", "path"],
        }
        media_type = "application/openstack-images-v2.1-json-patch"
        return {media_type: {"schema": {"type": "array", "items": change}}}
    if found is None:
        return {_JSON: {"schema": {"type": "object"}}}
    return {_JSON: {"schema": _wrapped(service, found[0], ".create" if route.method == "POST" else ".update")}}


def _schemas(service: str, resource: Resource) -> dict[str, Any]:
    """What one looks like in answers, in the body that makes it, and in the body that changes it."""
    shown = [item for item in resource.attributes if item.read]
    made = [item for item in resource.attributes if item.create]
    changed = [item for item in resource.attributes if item.update]
    name = f"{service}.{resource.name}"
    return {
        # An answer holds what the caller may read, which may be less than a body must say.
        name: {
            "type": "object",
            "description": resource.description,
            "properties": {item.name: {"description": item.description} for item in shown},
        },
        f"{name}.create": {
            "type": "object",
            "properties": _properties(made),
            "required": [item.name for item in made if item.default is REQUIRED],
        },
        f"{name}.update": {"type": "object", "properties": _properties(changed)},
    }


def _properties(attributes: Sequence[Attribute]) -> dict[str, Any]:
    return {item.name: {**item.codec.schema(), "description": item.description} for item in attributes}


def _wrapped(service: str, resource: Resource, which: str) -> dict[str, Any]:
    inner = _reference(service, resource.name + which)
    if service in _BARE:
        return inner
    return {"type": "object", "properties": {resource.member_name: inner}, "required": [resource.member_name]}


def _listed(service: str, resource: Resource) -> dict[str, Any]:
    name = resource.plural
    items = {"type": "array", "items": _reference(service, resource.name)}
    return {"type": "object", "properties": {name: items}, "required": [name]}


def _filter(attribute: Attribute) -> dict[str, Any]:
    return {
        "name": attribute.name,
        "in": "query",
        "schema": {"type": "string"},
        "description": f"Only those with this value of: {attribute.description}",
    }


def _reference(service: str, name: str) -> dict[str, Any]:
    known = service in DECLARED or name == "error"
    if not known or (name == "error" and service not in _ERRORS):
        return {"type": "object"}
    return {"$ref": f"#/components/schemas/{service}.{name}"}


def _answer(description: str, schema: dict[str, Any] | None) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": description}
    if schema is not None:
        answer["content"] = {_JSON: {"schema": schema}}
    return answer


def _error(names: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    ((outer, inner),) = names.items()
    properties = {name: {"type": kind} for name, kind in inner.items()}
    about = {"type": "object", "properties": properties, "required": list(inner)}
    # Keystone's middleware answers for every service when the token is bad.
    return {"type": "object", "properties": {outer: about}}


__all__ = ["DECLARED", "VERSION", "document", "servers"]
