"""Attributes that several resources of the Network API share, and the policy rules that attributes name."""

from __future__ import annotations

from typing import Final

from deuteron.model.codecs import Boolean, Integer, ListOf, Text, Uuid
from deuteron.model.network.codecs import NAME_LENGTH, ProjectId
from deuteron.model.resource import Attribute

READ: Final = "rule:admin_or_project_reader"
WRITE: Final = "rule:admin_or_project_member"
ADMIN: Final = "rule:admin_only"
NET_OWNER_MEMBER: Final = "rule:admin_or_net_owner_member"
SERVICE: Final = "rule:service_api"
ADMIN_OR_SERVICE: Final = f"{ADMIN} or {SERVICE}"
PORT_WIRING: Final = f"{NET_OWNER_MEMBER} or {SERVICE}"
"""Where a port is plugged in, and with which addresses: the network's owner, and services that plug in for others."""
OWN_MANAGER: Final = f"{ADMIN} or (role:manager and project_id:%(project_id)s)"

# One attribute is one thought: it stands on as few lines as it needs.
# fmt: off
ID = Attribute("id", Uuid(), "The id.")
NAME = Attribute("name", Text(NAME_LENGTH), "A name; it need not be unique.", default="", create=True, update=True)
DESCRIPTION = Attribute(
    "description", Text(255), "Words for people.", default="", create=True, update=True, sort=False
)
PROJECT_ID = Attribute("project_id", ProjectId(), "The project that owns it.", create=True)
TENANT_ID = Attribute("tenant_id", ProjectId(), "The older name of project_id.", stored=False)
ADMIN_STATE = Attribute(
    "admin_state_up", Boolean(), "Whether it should carry traffic.", default=True, create=True, update=True
)
SHARED = Attribute(
    "shared", Boolean(), "Whether every project may use it.", default=False, create=True, update=True,
    create_rule=ADMIN, update_rule=ADMIN, sort=False,
)
STATUS = Attribute("status", Text(), "What the hosts report.")
ZONE_HINTS = Attribute("availability_zone_hints", ListOf(Text(255)), "Zones asked for.", default=[], create=True,
                       filter=False)
ZONES = Attribute("availability_zones", ListOf(Text(255)), "Zones where it is served.", default=[], filter=False,
                  sort=False)
MAX_TAGS: Final = 50
"""Of one object. Neutron has no bound of ports that are made with tags."""
TAGS: Final = ListOf(Text(255), MAX_TAGS, unique=True)
"""As a body says them."""
STANDARD: tuple[Attribute, ...] = (
    Attribute("tags", ListOf(Text(255)), "Words to find it by; set at /tags.", default=[], sort=False),
    Attribute("created_at", Text(), "When it was made, UTC.", filter=False, sort=False),
    Attribute("updated_at", Text(), "When it last changed, UTC.", filter=False, sort=False),
    Attribute("revision_number", Integer(), "Grows with each change.", sort=False),
)
