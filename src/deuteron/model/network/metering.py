"""Metering: labels, and the rules that say which traffic through routers is counted for them.

Source: neutron-lib, neutron_lib/api/definitions/metering*.py; neutron/conf/policies/metering.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from deuteron.model.codecs import Boolean, OneOf, Text, Uuid
from deuteron.model.network.codecs import InterfaceCidr
from deuteron.model.network.shared import ID, NAME, OWN_MANAGER, PROJECT_ID, READ, TENANT_ID
from deuteron.model.resource import REQUIRED, Attribute, Extension, Resource

if TYPE_CHECKING:
    from deuteron.model.network.rows import MeteringLabelRow, MeteringLabelRuleRow

_RULES: Final = {"create": OWN_MANAGER, "get": READ, "delete": OWN_MANAGER}

# fmt: off
METERING_LABEL: Resource[MeteringLabelRow] = Resource(
    service="network",
    name="metering_label",
    collection="metering/metering-labels",
    missing=("MeteringLabelNotFound", "Metering label '{}' does not exist."),
    table="network_metering_labels",
    description="What the routers of a project count, or with shared those of all.",
    attributes=(
        ID,
        replace(NAME, update=False),
        Attribute("description", Text(1024), "Words for people.", default="", create=True),
        Attribute("shared", Boolean(), "Whether every router counts for it.", default=False, create=True),
        PROJECT_ID,
        TENANT_ID,
    ),
    indexes=(("project_id",), ("name",), ("shared",)),
    rules=_RULES,
)

METERING_LABEL_RULE: Resource[MeteringLabelRuleRow] = Resource(
    service="network",
    name="metering_label_rule",
    collection="metering/metering-label-rules",
    missing=("MeteringLabelRuleNotFound", "Metering label rule '{}' does not exist."),
    table="network_metering_label_rules",
    description="Traffic that is counted for a label, or that is not.",
    attributes=(
        ID,
        Attribute("metering_label_id", Uuid(), "Its label.", default=REQUIRED, create=True, refers_to="metering_label"),
        Attribute("direction", OneOf(("ingress", "egress")), "From outside, or to it.", default=REQUIRED, create=True),
        Attribute("remote_ip_prefix", InterfaceCidr(), "Addresses inside: the older way to say it.", create=True,
                  judged_late=(object,)),
        Attribute("source_ip_prefix", InterfaceCidr(), "Where packets are from.", create=True,
                  judged_late=(object,)),
        Attribute("destination_ip_prefix", InterfaceCidr(), "Where packets go.", create=True,
                  judged_late=(object,)),
        Attribute("excluded", Boolean(), "Whether such packets are not counted.", default=False, create=True),
        replace(PROJECT_ID, read=False, filter=False, sort=False),
        replace(TENANT_ID, read=False, filter=False, sort=False),
    ),
    indexes=(("project_id",), ("metering_label_id",)),
    rules=_RULES,
    followed=False,
)

EXTENSIONS: Final = {
    "metering": Extension("Neutron Metering", "What routers count.", "2013-06-12T10:00:00-00:00"),
    "metering_source_and_destination_fields": Extension(
        "Neutron Metering with source and destination filtering", "Counted by where packets are from and go.",
        "2020-08-21T08:12:00-00:00",
    ),
}
# fmt: on
