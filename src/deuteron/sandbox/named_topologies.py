"""Topologies that `deuteron up --topology` knows by name, as the text that a file would have.

    all-in-one   one host that does everything
    seed-e       rdo-control, rdo-neutron, rdo-compute-1 …: two projects over VXLAN, a flat provider network
    osad         osad, osad1, osad2: the three hosts and the VLAN switch of an OpenStack-Ansible deployment
    routed       two racks with a physical network each; what is between them is routed by the host outside

Source: names and addresses of seed-e are those of github.com/flavio-fernandes/rdo-nodes (Vagrantfile, hosts.json).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .errors import TopologyError

ALL_IN_ONE: Final = """\
# One host that does everything, and the world outside.
[groups]
control = ["aio"]
network = ["aio"]
compute = ["aio"]
storage = ["aio"]
monitoring = ["aio"]
"""

MOST_COMPUTE_HOSTS: Final = 200
"""Each is a few processes, and has an address from 192.168.50.22 on."""
_FEWEST, _USUAL = 1, 2

_SEED_E = """\
# A control host, a network host and compute hosts. eth1 carries tunnels, eth2 is the provider network; the host outside
# is the router between it and the world, with DNS and DHCP.
[groups]
control = ["rdo-control"]
network = ["rdo-neutron"]
compute = [{names}]

[interfaces]
neutron_external_interface = "eth2"
vlan_interface = "eth3"

[physical_networks]
neutron_external_interface = "physnetext"
vlan_interface = "physnetvlan"

[networks]
tunnel = "192.168.50.0/24"

[external]
cidr = "192.168.111.0/24"
gateway = "192.168.111.254"
pool = ["192.168.111.20", "192.168.111.99"]
create_network = false
routed = true

[outside]
dns = true
forward = true
dhcp = ["192.168.111.100", "192.168.111.199"]

[hosts.rdo-control]
tunnel_ip = "192.168.50.20"
physical_networks = []

[hosts.rdo-neutron]
tunnel_ip = "192.168.50.21"
external_ip = "192.168.111.11"
physical_networks = ["physnetext"]
{hosts}"""

_SEED_E_HOST = """
[hosts.{name}]
tunnel_ip = "192.168.50.{last}"
physical_networks = ["physnetext"]
"""

_OSAD = """\
# The deployment host and two others on one switch with VLANs.
[groups]
control = ["osad"]
network = ["osad1"]
compute = ["osad1", "osad2"]
storage = ["osad1", "osad2"]
monitoring = ["osad"]

[networks]
management = "172.29.236.0/22"
tunnel = "172.29.240.0/22"
"""

_ROUTED = """\
# Two racks. Each is connected to a physical network of its own, for networks with a segment in each.
[groups]
control = ["rack1"]
network = ["rack1", "rack2"]
compute = ["rack1", "rack2"]

[physical_networks]
vlan_interface = "physnet1"
neutron_external_interface = "physnet2"

[external]
create_network = false
routed = true

[hosts.rack1]
physical_networks = ["physnet1"]

[hosts.rack2]
physical_networks = ["physnet2"]
"""


def named(name: str, compute: int | None = None) -> str | None:
    """The text of the topology of this name, with so many compute hosts; None where there is none of this name.

    Raises: TopologyError for a number of compute hosts where it is fixed, or that is too small or too large.
    """
    if name not in NAMES:
        return None
    if compute is not None and name != "seed-e":
        raise TopologyError(
            f'cannot give topology "{name}" {compute} compute hosts: it has those that it has',
            "seed-e takes --compute; deuteron host add adds hosts to any cloud",
        )
    return _TEXTS[name](_USUAL if compute is None else compute)


def _seed_e(compute: int) -> str:
    if not _FEWEST <= compute <= MOST_COMPUTE_HOSTS:
        raise TopologyError(
            f'cannot give topology "seed-e" {compute} compute hosts',
            f"from {_FEWEST} to {MOST_COMPUTE_HOSTS} are accepted",
        )
    names = [f"rdo-compute-{number}" for number in range(1, compute + 1)]
    hosts = "".join(_SEED_E_HOST.format(name=name, last=last) for last, name in enumerate(names, 22))
    return _SEED_E.format(names=", ".join(f'"{name}"' for name in names), hosts=hosts)


_TEXTS: Final[dict[str, Callable[[int], str]]] = {
    "all-in-one": lambda _: ALL_IN_ONE,
    "seed-e": _seed_e,
    "osad": lambda _: _OSAD,
    "routed": lambda _: _ROUTED,
}
NAMES: Final = tuple(_TEXTS)
