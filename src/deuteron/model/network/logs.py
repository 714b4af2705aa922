"""Logs: which of what security groups let pass or drop is written down.

Source: neutron-lib, neutron_lib/api/definitions/logging.py; neutron/conf/policies/logging.py;
neutron/services/logapi/drivers/openvswitch/driver.py, whose only type of resource is a security group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from deuteron.model.codecs import Boolean, OneOf, Text, Uuid
from deuteron.model.network.shared import DESCRIPTION, ID, NAME, OWN_MANAGER, PROJECT_ID, STANDARD, TENANT_ID
from deuteron.model.resource import REQUIRED, Attribute, Extension, Resource

if TYPE_CHECKING:
    from deuteron.model.network.rows import LogRow

LOGGABLE: Final = ("security_group",)
"""Types of resources that can be logged."""

# fmt: off
LOG: Resource[LogRow] = Resource(
    service="network",
    name="log",
    collection="log/logs",
    missing=("LogResourceNotFound", "Log resource {} could not be found."),
    made_at_once=True,
    table="network_logs",
    description="What security groups let pass or drop, of one port, of the ports with a group, or of a project.",
    attributes=(
        ID,
        PROJECT_ID,
        TENANT_ID,
        NAME,
        Attribute("resource_type", Text(255), "What is logged: security_group.", default=REQUIRED, create=True),
        Attribute("resource_id", Uuid(nullable=True), "The security group by whose rules; null is any.", create=True),
        Attribute("event", OneOf(("ACCEPT", "DROP", "ALL")), "What passed, what did not, or both.", default="ALL",
                  create=True, sort=False, row_type='Literal["ACCEPT", "DROP", "ALL"]'),
        Attribute("target_id", Uuid(nullable=True), "The port; null is every one of the group or project.",
                  create=True),
        Attribute("enabled", Boolean(), "Whether it is written down.", default=True, create=True, update=True),
        DESCRIPTION,
        *(each for each in STANDARD if each.name != "tags"),
    ),
    indexes=(("project_id",), ("name",), ("resource_id",), ("target_id",)),
    rules=dict.fromkeys(("create", "get", "update", "delete"), OWN_MANAGER),
    helpers={"get_loggable_resource": OWN_MANAGER},
)

EXTENSIONS: Final = {
    "logging": Extension(
        "Logging API Extension", "What security groups let pass or drop is written down.", "2017-01-01T10:00:00-00:00"
    ),
}
# fmt: on
