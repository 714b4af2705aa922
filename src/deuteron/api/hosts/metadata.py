"""The metadata service at 169.254.169.254 and fe80::a9fe:a9fe, as EC2 and OpenStack shape it.

A guest's request reaches the agent of its host through the router's or the DHCP namespace; the agent passes it on
with the guest's address and the network it came from: by its id (DHCP), by the router and the router's own address
that the request arrived at, which is on one of the router's networks (IPv4), or by the router and the network (IPv6).
A guest's address is believed on the network where anti-spoofing holds the guest to it, and on no other: a router's
owner may route answers for any address anywhere. Network and address name one port, a link-local IPv6 address by the
MAC that it is made of; it is the server's whose interface it is, whatever server the port's `device_id`, which is a
user's to write, names.

    /                                   EC2 versions
    /latest/meta-data/public-keys/0/    a tree: a name with children ends with a slash in lists
    /openstack/latest/meta_data.json    OpenStack's documents

Source: nova/api/metadata/handler.py.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.hub.hub import host_of
from deuteron.model.errors import BadRequest, NotFound
from deuteron.rules.compute import metadata, passwords
from deuteron.rules.compute.metadata import Subject
from deuteron.rules.network import guests
from deuteron.store.database import Tx

_TEXT: Final = "text/plain; charset=UTF-8"
_BYTES: Final = "application/octet-stream"


def answer(call: Call, tx: Tx) -> Reply:
    """GET /internal/metadata/…. Raises: NotFound for a path that is not there, or a guest nobody knows."""
    path = [part for part in call.params["rest"].split("/") if part]
    if not path:
        return _lines([*metadata.EC2_VERSIONS, "latest"])
    if path == ["openstack"]:
        return _lines([*metadata.OPENSTACK_VERSIONS, "latest"])
    subject = _subject(call, tx)
    if path[0] == "openstack":
        return _openstack(tx, subject, path[1:])
    if path[0] not in (*metadata.EC2_VERSIONS, "latest"):
        raise _unknown(path)
    node: Any = {"meta-data": metadata.ec2_tree(tx, subject)}
    if subject.user_data is not None:
        node["user-data"] = subject.user_data
    return _walk(node, path[1:], path)


def take_password(call: Call, tx: Tx) -> Reply:
    """POST /internal/metadata/openstack/{version}/password: what the guest chose.

    Raises: NotFound, Conflict, BadRequest.

    Every other path is read only, whatever the method, as in Nova.
    """
    path = [part for part in call.params["rest"].split("/") if part]
    if len(path) != 3 or path[0] != "openstack" or path[2] != "password":
        return answer(call, tx)
    if path[1] not in (*metadata.OPENSTACK_VERSIONS, "latest"):
        raise _unknown(path)
    passwords.give(tx, _subject(call, tx).row, call.raw)
    return Reply(200)


def _subject(call: Call, tx: Tx) -> Subject:
    said = call.headers.get("x-forwarded-for", "").split(",")[0].strip()
    try:
        if "%" in said:
            raise ValueError("a zone means something on the host only")
        address = ipaddress.ip_address(said)
    except ValueError:
        raise BadRequest(f"X-Forwarded-For is {said!r}: the guest's address is expected") from None
    network, router = call.headers.get("x-neutron-network-id"), call.headers.get("x-neutron-router-id")
    host = host_of(call.settings, call.headers.get("authorization", ""))
    if router:
        arrived_at = call.headers.get("x-forwarded-to", "")
        reached = guests.networks_behind_router_on(tx, host, router, network_id=network, address=arrived_at)
    elif network:
        reached = guests.networks_with_dhcp_on(tx, host, network)
    else:
        raise BadRequest("neither X-Neutron-Network-ID nor X-Neutron-Router-ID is given")
    asking = guests.port_at(tx, reached, address)
    found = None if asking is None else metadata.server_at(tx, call.settings, asking)
    if found is None:
        raise NotFound(f"no server has address {address} there")
    return found


def _walk(node: Any, path: list[str], whole: list[str]) -> Reply:
    for part in path:
        if not isinstance(node, dict) or part not in node:
            raise _unknown(whole)
        node = node[part]
    if isinstance(node, bytes):
        return Reply(200, node, {}, _BYTES)
    if isinstance(node, str):
        return Reply(200, node.encode(), {}, _TEXT)
    if isinstance(node, list):
        return _lines(node)
    return _lines(
        [
            child.label if isinstance(child, metadata.Labelled) else f"{name}/" if isinstance(child, dict) else name
            for name, child in sorted(node.items())
        ]
    )


def _openstack(tx: Tx, subject: Subject, path: list[str]) -> Reply:
    if path[0] not in (*metadata.OPENSTACK_VERSIONS, "latest"):
        raise _unknown(["openstack", *path])
    names = metadata.document_names(subject)
    if len(path) == 1:
        return _lines(names)
    name = path[1]
    if len(path) > 2 or name not in names:
        raise _unknown(["openstack", *path])
    kind = _BYTES if name == "user_data" else _TEXT if name == "password" else "application/json"
    return Reply(200, metadata.document(tx, subject, name), {}, kind)


def _lines(names: list[str]) -> Reply:
    return Reply(200, "\n".join(names).encode(), {}, _TEXT)


def _unknown(path: list[str]) -> NotFound:
    return NotFound(f"there is no /{'/'.join(path)}")
