"""A server's interfaces: which networks a request means, the ports for them, and the addresses shown.

All network rules are the network service's own functions, called in the same transaction.

Source: nova/network/neutron.py; nova/api/openstack/compute/servers.py `_get_requested_networks`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from deuteron.model.caller import Caller
from deuteron.model.compute import Nic
from deuteron.model.errors import ApiError, BadRequest, Conflict, Forbidden, NotFound
from deuteron.model.network import COMPUTE_PREFIX
from deuteron.model.network.rows import PortRow
from deuteron.model.scalars import NetworkId, PortId, ProjectId, SecurityGroupId
from deuteron.model.settings import Settings
from deuteron.rules.compute import aggregates
from deuteron.rules.hosts import registry
from deuteron.rules.network import devices, dns, promises, routed, sight
from deuteron.rules.network import ports as network_ports
from deuteron.rules.network.devices import PluggedPort
from deuteron.store.database import Tx
from deuteron.store.query import Values

MayChoose = Callable[[str | None], bool]
"""Whether policy lets the caller choose an address on a network of this project."""


@dataclass(frozen=True)
class Wanted:
    """One interface that a request asks for: a port, or a network with perhaps an address."""

    network_id: str | None = None
    port_id: str | None = None
    fixed_ip: str | None = None
    tag: str | None = None


Request = tuple[Wanted, ...] | Literal["any", "auto"]
"""Interfaces by name; `any` is the project's one network if it has one, `auto` has to find one."""


def resolve(tx: Tx, caller: Caller, request: Request) -> tuple[Wanted, ...]:
    """The interfaces that a new server gets, checked. Raises: BadRequest, Forbidden, Conflict with Nova's words."""
    if isinstance(request, str):
        found = devices.networks_for(tx, caller)
        if request == "auto" and not found:
            raise BadRequest(
                "Unable to allocate a network automatically: the project has no network. Make one, or ask for 'none'.",
                type="UnableToAutoAllocateNetwork",
            )
        if len(found) > 1:
            raise _ambiguous()
        return tuple(Wanted(network_id=network_id) for network_id in found)
    for want in request:
        check(tx, caller, want)
    given = [want.port_id for want in request if want.port_id is not None]
    if len(given) != len(set(given)):
        raise BadRequest(f"Port {given[0]} is asked for twice.", type="HTTPBadRequest")
    return request


def requests(tx: Tx, wanted: Sequence[Wanted]) -> list[promises.Request]:
    """What the ports that are given ask of the host, those that ask for something."""
    given = [want.port_id for want in wanted if want.port_id is not None]
    return list(promises.requests(tx, devices.ports_of(tx, given)).values()) if given else []


def resolve_another(tx: Tx, caller: Caller, taken: Sequence[str], tag: str | None) -> Wanted:
    """An interface on the project's one network, or of several on the one that is not `taken`. Raises: Conflict."""
    found = devices.networks_for(tx, caller)
    left = found if len(found) == 1 else [network_id for network_id in found if network_id not in taken]
    if len(left) != 1:
        raise _ambiguous()
    return Wanted(network_id=left[0], tag=tag)


def check(tx: Tx, caller: Caller, want: Wanted) -> None:
    """Whether the caller may plug a server there. Raises: BadRequest, Forbidden, Conflict."""
    if want.port_id is not None:
        _free_port(tx, caller, want.port_id)
        return
    assert want.network_id is not None  # an interface names one or the other
    try:
        network = sight.network_for(tx, caller, want.network_id)
    except NotFound:
        raise BadRequest(f"Network {want.network_id} could not be found.", type="NetworkNotFound") from None
    if network["router:external"] and not sight.may_use(tx, caller, network):
        raise Forbidden(
            f"It is not allowed to create an interface on external network {want.network_id}",
            type="ExternalNetworkAttachForbidden",
        )
    if not devices.has_subnet(tx, want.network_id):
        raise BadRequest(
            f"Network {want.network_id} requires a subnet in order to boot instances on.", type="NetworkRequiresSubnet"
        )


def _free_port(tx: Tx, caller: Caller, port_id: str) -> PortRow:
    port = devices.find_port(tx, caller, port_id)
    if port is None:
        raise BadRequest(f"Port id {port_id} could not be found.", type="PortNotFound")
    if port["device_id"] or devices.is_subport(tx, port["id"]):
        raise Conflict(f"Port {port_id} is still in use.", type="PortInUse")
    waits = port["ip_allocation"] == routed.DEFERRED
    if not port["fixed_ips"] and not waits and devices.has_subnet(tx, port["network_id"]):
        raise BadRequest(f"Port {port_id} requires a FixedIP in order to be used.", type="PortRequiresFixedIP")
    return port


@dataclass(frozen=True)
class Socket:
    """What ports are plugged into: a server, where it is, and what it asked of the groups of ports made for it."""

    server_id: str
    project_id: ProjectId
    host: str | None
    hostname: str
    groups: Sequence[SecurityGroupId] | None = None


def plug(tx: Tx, settings: Settings, caller: Caller, socket: Socket, want: Wanted, may_choose: MayChoose) -> Nic:
    """Make or take the port of one interface, and bind it where the server is.

    Raises: BadRequest, Forbidden, Conflict when the network service refuses; Unbound when no mechanism can bind it;
    Unpromised when the host cannot promise what it asks for.
    """
    try:
        name = dns.name_of_host(settings, socket.hostname)
    except BadRequest:
        raise BadRequest(f"Instance hostname {socket.hostname} is not a valid DNS name", type="InvalidInput") from None
    zone = aggregates.zone_of(tx, socket.host) if socket.host else aggregates.ZONE
    owner = f"{COMPUTE_PREFIX}{zone}"
    values: Values = {"device_id": socket.server_id, "device_owner": owner, "binding:host_id": socket.host or ""}
    values["dns_name"] = name
    if want.port_id is not None:
        port = _free_port(tx, caller, want.port_id)
        if name and port["dns_name"] not in ("", name):
            raise BadRequest(
                f"Port {port['id']} not usable for instance {socket.server_id}. Value {port['dns_name']} assigned to "
                f"dns_name attribute does not match instance's hostname {name}",
                type="PortNotUsableDNS",
            )
        values |= _promise(tx, settings, socket, port)
        row = network_ports.update_port(tx, settings, caller, port, values)
    else:
        assert want.network_id is not None  # an interface names one or the other
        if promises.asks_by_network(tx, NetworkId(want.network_id)):
            raise Unpromised(
                "Using networks with QoS policy is not supported for instance "
                f"{socket.server_id}. (Network ID is {want.network_id})"
            )
        values |= {"network_id": want.network_id, "project_id": socket.project_id}
        if socket.groups is not None:
            values["security_groups"] = list(socket.groups)
        if want.fixed_ip is not None:
            _refuse_foreign_choice(tx, want, may_choose)
            values["fixed_ips"] = [{"ip_address": want.fixed_ip}]
        try:
            row = network_ports.create_port(tx, settings, caller, values)
        except ApiError as error:
            raise _refusal(error, want) from None
    if row["binding:vif_type"] == "binding_failed":
        raise Unbound(row["id"], row["binding_refusal"] or "")
    return Nic(row["id"], owned=want.port_id is None, tag=want.tag)


def _refuse_foreign_choice(tx: Tx, want: Wanted, may_choose: MayChoose) -> None:
    """Choosing an address is for the network's owner, through Nova as through Neutron. Raises: Forbidden."""
    assert want.network_id is not None  # an address is chosen on a network
    if not may_choose(sight.network_for(tx, None, want.network_id)["project_id"]):
        raise Forbidden(
            f"rule:create_port:fixed_ips:ip_address is disallowed by policy: network {want.network_id} is another "
            "project's, which alone chooses addresses on it",
            type="Forbidden",
        )


class Unbound(Exception):
    """No mechanism can bind the port on the host."""

    def __init__(self, port_id: PortId, reason: str) -> None:
        super().__init__(f"Binding failed for port {port_id}: {reason}")
        self.port_id = port_id


class Unpromised(Exception):
    """The host does not promise what the port would ask for."""


def _promise(tx: Tx, settings: Settings, socket: Socket, port: PortRow) -> dict[str, object]:
    """Values of a port that is promised what it asks for. Raises: Unpromised."""
    asked = promises.requests(tx, [port]).get(port["id"])
    host = registry.find(tx, settings, socket.host) if asked is not None and socket.host else None
    if asked is None or host is None:
        return {}
    if promises.lacks(tx, [host], [asked]):
        raise Unpromised(f"Failed to allocate additional resources to {socket.server_id} during interface attach")
    return promises.keep(tx, host, port, asked)


def groups_for(tx: Tx, project_id: ProjectId, names: Sequence[str]) -> list[SecurityGroupId]:
    """Ids of the project's security groups by name or id. Raises: BadRequest, Conflict."""
    result: dict[SecurityGroupId, None] = {}
    for name in names:
        found = devices.groups_named(tx, project_id, name)
        if not found:
            raise BadRequest(
                f"Security group {name} not found for project {project_id}.", type="SecurityGroupNotFoundForProject"
            )
        if len(found) > 1:
            raise Conflict(
                f"Multiple security groups found matching '{name}'. Use an ID to be more specific.",
                type="NoUniqueMatch",
            )
        result[found[0]] = None
    return list(result)


@dataclass(frozen=True)
class Plugged:
    """What is plugged into servers, for answers about many of them at once."""

    ports: Mapping[str, Sequence[PluggedPort]]
    """By server, in the order of its interfaces."""
    found: devices.Plugged

    def addresses(self, server_id: str) -> dict[str, list[dict[str, Any]]]:
        """By name of network, as answers show them."""
        result: dict[str, list[dict[str, Any]]] = {}
        for port in self.ports.get(server_id, ()):
            listed = result.setdefault(self.found.network_names.get(port["network_id"], ""), [])
            for item in port["fixed_ips"]:
                listed.append(_shown(item["ip_address"], "fixed", port["mac_address"]))
                for fixed, floating in self.found.floating.get(port["id"], ()):
                    if fixed == item["ip_address"]:
                        listed.append(_shown(floating, "floating", port["mac_address"]))
        return result

    def groups(self, server_id: str) -> list[str]:
        """Names of the security groups of its ports, each once."""
        names: dict[str, None] = {}
        for port in self.ports.get(server_id, ()):
            for group in port["security_groups"] or ():
                names[self.found.group_names.get(group, group)] = None
        return list(names)


def plugged(tx: Tx, server_nics: Mapping[str, Sequence[Nic]]) -> Plugged:
    """What is plugged into the servers, with four queries however many there are."""
    found = devices.plugged(tx, server_nics.keys())
    by_server: dict[str, list[PluggedPort]] = {}
    for server_id, nics in server_nics.items():
        rows = [found.ports[nic.port_id] for nic in nics if nic.port_id in found.ports]
        by_server[server_id] = [row for row in rows if row["device_id"] == server_id]
    return Plugged(by_server, found)


def _shown(address: str, kind: str, mac: str) -> dict[str, Any]:
    return {
        "version": 6 if ":" in address else 4,
        "addr": address,
        "OS-EXT-IPS:type": kind,
        "OS-EXT-IPS-MAC:mac_addr": mac,
    }


def _ambiguous() -> Conflict:
    return Conflict("Multiple possible networks found, use a Network ID to be more specific.", type="NetworkAmbiguous")


def _refusal(error: ApiError, want: Wanted) -> ApiError:
    """The network service's refusal in the words of Nova, where it has words of its own."""
    if error.type == "IpAddressAlreadyAllocated":
        return BadRequest(
            f"Fixed IP address {want.fixed_ip} is already in use on instance.", type="FixedIpAlreadyInUse"
        )
    if error.type in ("InvalidIpForNetwork", "InvalidIpForSubnet"):
        return BadRequest(
            f"Fixed IP {want.fixed_ip} is not a valid ip address for network {want.network_id}.", type="InvalidInput"
        )
    if error.type == "OverQuota":
        return Forbidden("Maximum number of ports exceeded", type="PortLimitExceeded")
    if error.type.startswith("IpAddressGenerationFailure"):
        return BadRequest(f"No more IP addresses available on network {want.network_id}.", type="NoMoreFixedIps")
    return error
