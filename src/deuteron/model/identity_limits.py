"""Unified limits: how much of a service's resource a project may have, unless told, and what single ones are told.

Source: keystone 30.0, limit/schema.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from deuteron.model.codecs import Integer, Text
from deuteron.model.resource import REQUIRED, Attribute, Resource

if TYPE_CHECKING:
    from deuteron.model.identity_rows import LimitRow, RegisteredLimitRow

MAX_LIMITS: Final = 200
"""Of one request."""
_ID = Text(min_length=1, max_length=64, pattern=r"[A-Za-z0-9_-]+")
_OPTIONAL_ID = Text(min_length=1, max_length=255, nullable=True)
_NAME = Text(min_length=1, max_length=255, pattern=r"[\s\S]*\S[\s\S]*")
_NUMBER = Integer(minimum=-1, maximum=2**31 - 1, strict=True)
_DESCRIPTION = Text(max_length=65535, max_bytes=65535, nullable=True)

REGISTERED_LIMIT: Resource[RegisteredLimitRow] = Resource(
    service="identity",
    name="registered_limit",
    collection="registered_limits",
    description="How much of a service's resource each project may have, unless it has a limit of its own.",
    attributes=(
        Attribute("id", _ID, "the object's id, made by the server"),
        Attribute("service_id", _ID, "the service", default=REQUIRED, create=True, update=True, refers_to="service"),
        Attribute("region_id", _OPTIONAL_ID, "the region", create=True, update=True, refers_to="region"),
        Attribute("resource_name", _NAME, "what is limited", default=REQUIRED, create=True, update=True),
        Attribute("default_limit", _NUMBER, "how much; -1 is no limit", default=REQUIRED, create=True, update=True),
        Attribute("description", _DESCRIPTION, "a free text", create=True, update=True, filter=False),
    ),
)

LIMIT: Resource[LimitRow] = Resource(
    service="identity",
    name="limit",
    collection="limits",
    description="How much of a service's resource one project may have, or a domain.",
    attributes=(
        Attribute("id", _ID, "the object's id, made by the server"),
        Attribute("project_id", _OPTIONAL_ID, "the project", create=True, refers_to="project"),
        Attribute("domain_id", _OPTIONAL_ID, "or the domain", create=True, refers_to="domain"),
        Attribute("service_id", _ID, "the service", default=REQUIRED, create=True, refers_to="service"),
        Attribute("region_id", _OPTIONAL_ID, "the region", create=True, refers_to="region"),
        Attribute("resource_name", _NAME, "what is limited", default=REQUIRED, create=True),
        Attribute("resource_limit", _NUMBER, "how much; -1 is no limit", default=REQUIRED, create=True, update=True),
        Attribute("description", _DESCRIPTION, "a free text", create=True, update=True, filter=False),
    ),
    hidden=(Attribute("registered_limit_id", _ID, "what it is instead of", refers_to="registered_limit"),),
    indexes=(("project_id",), ("domain_id",), ("registered_limit_id",)),
)
