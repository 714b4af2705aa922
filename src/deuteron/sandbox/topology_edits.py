"""A topology with a host more or less: its text, made anew from what it says, so without its comments.

Every host keeps its addresses: those that came from the order of mention are written down.
"""

from __future__ import annotations

import ipaddress
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .errors import TopologyError
from .topology import GROUPS, OUTSIDE, Topology
from .topology_file import parse_topology

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_HEAD = "# Written by deuteron host.\n"
_ADDRESSES = ("management_ip", "tunnel_ip", "external_ip")


def with_host(text: str, name: str, groups: Sequence[str]) -> str:
    """The topology with host `name` in `groups`; for the rest it is like the first host of the same groups.

    Raises: TopologyError.
    """
    topology = parse_topology(text)
    table = _pinned(text, topology)
    for group in groups:
        if group not in GROUPS:
            raise TopologyError(f'cannot add host "{name}" to group "{group}"', f"groups are {', '.join(GROUPS)}")
        table["groups"].setdefault(group, []).append(name)
    like = next((host.name for host in topology.hosts if host.groups and set(host.groups) == set(groups)), None)
    own = table["hosts"].get(like, {})
    table["hosts"][name] = {
        **{key: value for key, value in own.items() if key not in _ADDRESSES},
        "management_ip": _next(
            topology.networks.management, [host.management_ip for host in topology.hosts if host.name != OUTSIDE]
        ),
        "tunnel_ip": _next(topology.networks.tunnel, [host.tunnel_ip for host in topology.hosts if host.tunnel_ip]),
    }
    made = _HEAD + "".join(_lines(table))
    parse_topology(made, "the topology with it")
    return made


def without_host(text: str, name: str) -> str:
    """The topology without host `name`. Raises: TopologyError when no cloud is left, or something names the host."""
    table = _pinned(text, parse_topology(text))
    for members in (*table["groups"].values(), *(b.get("hosts", []) for b in _backends(table))):
        while name in members:
            members.remove(name)
    table["hosts"].pop(name, None)
    made = _HEAD + "".join(_lines(table))
    parse_topology(made, f'the topology without "{name}"')
    return made


def _pinned(text: str, topology: Topology) -> dict[str, Any]:
    table = tomllib.loads(text)
    table["groups"] = {
        group: [host.name for host in topology.hosts if group in host.groups] for group in GROUPS
    }  # in order of mention, which gives the others their numbers
    hosts = table.setdefault("hosts", {})
    for host in topology.hosts:
        if host.name != OUTSIDE:
            own = hosts.setdefault(host.name, {})
            own["management_ip"], own["tunnel_ip"] = host.management_ip, host.tunnel_ip
    return table


def _backends(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(table.get("volume", {}).get("backends", {}).values())


def _next(network: str, taken: Sequence[str]) -> str:
    """The address after the last that is taken, from the tenth on; the first free one where there is none."""
    whole = ipaddress.ip_network(network)
    used = {int(ipaddress.ip_address(address)) for address in taken}
    first, last = int(whole[10]), int(whole[-2])
    after = max([first - 1, *used]) + 1
    for number in (*range(after, min(after + 1, last + 1)), *range(first, last + 1)):
        if number not in used:
            return str(ipaddress.ip_address(number))
    raise TopologyError(f'cannot add a host: network "{network}" has no address left', "a larger one under [networks]")


def _lines(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """TOML of what a topology may hold: tables, arrays, strings, numbers and booleans."""
    for key, value in table.items():
        if not isinstance(value, dict):
            yield f"{_key(key)} = {_value(value)}\n"
    for key, value in table.items():
        if isinstance(value, dict):
            inner = (*path, key)
            yield f"\n[{'.'.join(map(_key, inner))}]\n"
            yield from _lines(value, inner)


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list):
        return f"[{', '.join(_value(each) for each in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_key(key)} = {_value(each)}' for key, each in value.items())}}}"
    return json.dumps(value)


def _string(text: str) -> str:
    # JSON's escapes are TOML's; this one character JSON leaves as it is and TOML does not.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
