"""What every body may say: of each kind each attribute, with each of some values that are odd, in POST and in PUT.

    python -m tests.oracle.bodies [--kinds KIND ...]

Beside the attribute a body says only what it has to. What is made goes again at once, and where one side did what the
other refused both begin anew, so that each request is asked of the same cloud.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import structlog

from deuteron.model.network import RESOURCES
from deuteron.model.resource import Resource
from tests.oracle.both import Both, Ref, Request
from tests.oracle.kinds import KINDS
from tests.oracle.neutron import Neutron, environment, running
from tests.oracle.play import Tally, cloud
from tests.oracle.values import ODD
from tests.unit.api_network.harness import ADMIN, DEMO, OTHER

_NAMES = {"network_flavor": "flavor"}
_USERS = ("admin", "demo", "reader")

_NEEDED: Mapping[str, Mapping[str, Any]] = {
    "network": {},
    "subnet": {"network_id": Ref("network", 1), "ip_version": 4, "cidr": "10.1.0.0/24"},
    "subnetpool": {"name": "p", "prefixes": ["10.2.0.0/16"], "default_prefixlen": 26},
    "address_scope": {"name": "s", "ip_version": 4},
    "port": {"network_id": Ref("network", 1)},
    "router": {},
    "floatingip": {"floating_network_id": Ref("network")},
    "port_forwarding": {
        "internal_port_id": Ref("port"),
        "internal_ip_address": "10.0.0.5",
        "internal_port": 22,
        "external_port": 2222,
        "protocol": "tcp",
    },
    "security_group": {"name": "g"},
    "security_group_rule": {"security_group_id": Ref("security_group"), "direction": "ingress"},
    "rbac_policy": {
        "object_type": "network",
        "object_id": Ref("network", 1),
        "target_tenant": OTHER,
        "action": "access_as_shared",
    },
    "address_group": {"name": "a"},
    "qos_policy": {"name": "q"},
    "bandwidth_limit_rule": {"max_kbps": 1000},
    "dscp_marking_rule": {"dscp_mark": 10},
    "minimum_bandwidth_rule": {"min_kbps": 1000, "direction": "egress"},
    "minimum_packet_rate_rule": {"min_kpps": 5, "direction": "any"},
    "packet_rate_limit_rule": {"max_kpps": 9},
    "metering_label": {"name": "m"},
    "metering_label_rule": {
        "metering_label_id": Ref("metering_label"),
        "direction": "ingress",
        "remote_ip_prefix": "10.3.0.0/24",
    },
    "default_security_group_rule": {
        "direction": "ingress",
        "used_in_default_sg": False,
        "used_in_non_default_sg": False,
    },
    "flavor": {"name": "f", "service_type": "L3_ROUTER_NAT"},
    "service_profile": {"metainfo": "{}"},
    "log": {"name": "l", "resource_type": "security_group"},
    "trunk": {"port_id": Ref("port", 2)},
    "conntrack_helper": {"protocol": "tcp", "port": 21, "helper": "ftp"},
    "ndp_proxy": {"router_id": Ref("router"), "port_id": Ref("port")},
    "local_ip": {"network_id": Ref("network", 1)},
    "segment": {"network_id": Ref("network", 1), "network_type": "vxlan"},
}


def _post(kind: str, body: Mapping[str, Any], user: str = "admin") -> Request:
    known = KINDS[kind]
    refs = (Ref(known.parent),) if known.parent else ()
    return Request("POST", f"/v2.0/{known.path}", {known.member: dict(body)}, user, refs, kind)


def _put(kind: str, body: Mapping[str, Any], user: str) -> Request:
    known = KINDS[kind]
    refs = (*((Ref(known.parent),) if known.parent else ()), Ref(kind))
    return Request("PUT", f"/v2.0/{known.path}/{{}}", {known.member: dict(body)}, user, refs)


def _delete(kind: str) -> Request:
    known = KINDS[kind]
    refs = (*((Ref(known.parent),) if known.parent else ()), Ref(kind, -1))
    return Request("DELETE", f"/v2.0/{known.path}/{{}}", None, "admin", refs)


_THERE = (
    _post("network", {"name": "outside", "router:external": True}),
    _post("subnet", {"network_id": Ref("network"), "ip_version": 4, "cidr": "172.24.4.0/24", "enable_dhcp": False}),
    _post("network", {"name": "inside"}, "demo"),
    _post("subnet", {"network_id": Ref("network", 1), "ip_version": 4, "cidr": "10.0.0.0/24"}, "demo"),
    _post("security_group", {"name": "group"}, "demo"),
    _post("port", {"network_id": Ref("network", 1), "fixed_ips": [{"ip_address": "10.0.0.5"}]}, "demo"),
    _post("port", {"network_id": Ref("network", 1), "fixed_ips": [{"ip_address": "10.0.0.6"}]}, "demo"),
    _post("port", {"network_id": Ref("network", 1), "fixed_ips": [{"ip_address": "10.0.0.7"}]}, "demo"),
    # Neutron's database refuses a second trunk of a port to who does not see the first, after a minute of trying again.
    _post("trunk", {"port_id": Ref("port", 1)}, "demo"),
    _post("router", {"name": "r", "external_gateway_info": {"network_id": Ref("network")}}, "demo"),
    Request("PUT", "/v2.0/routers/{}/add_router_interface", {"subnet_id": Ref("subnet", 1)}, "demo", (Ref("router"),)),
    _post("floatingip", {"floating_network_id": Ref("network")}, "demo"),
    _post("qos_policy", {"name": "quality", "project_id": DEMO}),
    _post("metering_label", {"name": "label", "project_id": DEMO}),
)
"""What others are made in."""


def _resources() -> Iterator[tuple[str, Resource[Any]]]:
    for resource in RESOURCES:
        kind = _NAMES.get(resource.name, resource.name)
        if kind in _NEEDED:
            yield kind, resource


def bodies(kind: str) -> Iterator[Request]:
    """All of a kind, as administrator, as member and as reader."""
    (resource,) = (resource for name, resource in _resources() if name == kind)
    for attribute in resource.attributes:
        for value in ODD:
            for user in _USERS:
                yield _post(kind, {**_NEEDED[kind], attribute.name: value}, user)
                yield _put(kind, {attribute.name: value}, user)


class _Sweep:
    def __init__(self, neutron: Neutron, tally: Tally) -> None:
        self._neutron, self._tally = neutron, tally

    def run(self, kind: str) -> None:
        left = list(bodies(kind))
        while left:
            self._neutron.reset()
            with cloud() as client:
                both = Both(self._neutron, client)
                for project in (ADMIN, DEMO, OTHER):
                    both.twins.pair(project, project)
                for each in _THERE:
                    self._ask(both, each)
                if kind not in both.made:
                    self._ask(both, _post(kind, _NEEDED[kind]))
                while left and not both.diverged:
                    request = left.pop(0)
                    there = len(both.made.get(kind, ()))
                    self._ask(both, request)
                    if len(both.made.get(kind, ())) > there and not both.diverged:
                        self._ask(both, _delete(kind))
                        if not both.said[-1].endswith("-> 204"):
                            break  # a trunk that is down stays: begin anew, for what comes would be refused for it

    def _ask(self, both: Both, request: Request) -> None:
        self._tally.compared += 1
        for found, why in both.ask(request):
            self._tally.add(request, found, why, both.said[-1:])


def sweep(kind: str) -> Tally:
    """All bodies of a kind, to a Neutron of its own."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    tally = Tally()
    with running() as neutron:
        _Sweep(neutron, tally).run(kind)
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.oracle.bodies")
    parser.add_argument("--kinds", nargs="+", choices=sorted(_NEEDED), help="of these alone")
    parser.add_argument("--processes", type=int, default=2, help="Neutrons side by side (default 2)")
    wanted = parser.parse_args()
    environment()
    whole = Tally()
    kinds = wanted.kinds or list(_NEEDED)
    with ProcessPoolExecutor(wanted.processes) as pool:
        for kind, tally in zip(kinds, pool.map(sweep, kinds), strict=True):
            print(f"{kind}: {tally.compared} requests, {sum(tally.seen.values())} differences", flush=True)
            if tally.unexplained:
                print("\n".join(tally.lines()), flush=True)
            whole.join(tally)
    print(f"{whole.compared} requests compared")
    print("\n".join(whole.lines()))
    return 1 if whole.unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
