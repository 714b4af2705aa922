"""Why an answer of ours differs from Neutron's where it does, and is to stay so or waits for something larger."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """Patterns of steps and of places, each of the whole name."""

    why: str
    places: str
    steps: str = ".*"

    def explains(self, step: str, place: str) -> bool:
        return re.fullmatch(self.steps, step) is not None and re.fullmatch(self.places, place) is not None


RECORDED = (
    Reason("The recorded cloud had no QoS", r"extensions\.qos[\w-]*", "extensions"),
    Reason("Extensions that are not built yet", r"extensions\.[\w-]+", "extensions"),
    Reason("Neutron names what has tags in any order", r"extensions\.standard-attr-tag\.name", "extensions"),
    Reason("Address groups are not built yet", "status", "x-address-group|del-ag"),
    Reason("One kind of router: the others need several hosts", r"service_providers\.\*(\..*)?", "service-providers"),
    Reason(
        "An agent tells how its own process is set up; ours is one process, which does the metadata agent's work too",
        r"agents\.neutron-[\w-]+(\.configurations\..*)?",
    ),
    Reason(
        "The recorded cloud had these quotas turned off in a file; ours has Neutron's own defaults",
        r"quota\..*",
        "quota-default",
    ),
    Reason("No agent runs in this comparison that would plug the port in and say so", r".*\.status"),
    Reason("Neutron draws a segment by chance, ours takes the lowest free one", r"network\.provider:segmentation_id"),
    Reason(
        "Inside a group, Neutron shows of a rule the number of its row and leaves out what the rule shows by itself",
        r".*security_group_rules\.\*\.(standard_attr_id|belongs_to_default_sg|description)",
    ),
    Reason(
        "Neutron leaves the tags out of the answer to a new rule, and shows them from then on",
        r"security_group_rule\.tags",
    ),
    Reason(
        "Neutron's agent binds the port of a gateway after the answer, ours is bound with it",
        r"ports\.\*\.binding:.*",
        "uc4-gateway-port",
    ),
    Reason("Neutron answers 500 to a mistake of the caller", "status", "bad-pool-cidr-not-in"),
    Reason("Neutron lists this quota and counts nothing for it", r"quota\.router_route\.used", "quota-details"),
    Reason("Of a subnet that no recorded request made", r"network\.subnets\.\*", "bad-segmentation-change-in-use"),
    Reason("A refused DELETE of the external network had released Neutron's floating IP", "status", "del-fip2"),
    Reason(
        "Neutron writes a row several times while it binds a port, and shows a subnet before its last write; here each "
        "request that changes something is one revision",
        r".*\brevision_number",
    ),
)
"""Of differences in the recorded conversation; the first that explains one is it."""
