"""`deuteron dump`: what a person would look at on every host, as files.

    DIR/HOST/ovs-vsctl-show.txt               the switch
    DIR/HOST/ovs-ofctl-dump-flows_br-int.txt  its flows, a file for each bridge
    DIR/HOST/ip-addr.txt, iptables-save.txt   the host's own network
    DIR/HOST/netns/NAMESPACE/ip-addr.txt      those of its namespaces
    DIR/HOST/dnsmasq/NETWORK/host             what DHCP servers are told, and told to whom
    DIR/commands.txt                          which command printed which file

Invariant: the folder appears whole, by one rename, or not at all. It is its owner's alone, and no secret of the cloud
is in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from deuteron.cli.onhost import NotThere, on_host
from deuteron.cli.options import Refused, existing_cloud, state_option
from deuteron.cli.topologies import stored_topology
from deuteron.net.kernel.driver import KernelError
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.kernel.programs import finish, start
from deuteron.net.look import bridges_here
from deuteron.net.rows import HOST
from deuteron.sandbox.cloud import Cloud, State, lower
from deuteron.sandbox.errors import SandboxError

_TIMEOUT_S = 300.0
_NAME = re.compile(r"[\w.@+-]+(/[\w.@+-]+)*", re.ASCII)
_HIDDEN = "[a secret]"
_NETWORK: tuple[tuple[str, ...], ...] = (
    ("ip", "-details", "addr"), ("ip", "route"), ("ip", "-6", "route"), ("ip", "neigh"), ("iptables-save",),
    ("ip6tables-save",),
)  # fmt: skip
"""Asked in the host's own network and in each of its namespaces."""
_FILE_NAMES: dict[tuple[str, ...], str] = {("ip", "-details", "addr"): "ip-addr", ("ip", "-6", "route"): "ip-6-route"}
_DNSMASQ_FILES = ("host", "addn_hosts", "opts", "leases", "interface")
_LONGEST_FILE = 16 << 20


class _Text(NamedTuple):
    name: str
    command: str
    text: str


@click.command()
@state_option
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
def dump(state: State, folder: Path | None) -> None:
    """Write what can be seen on every host to files in DIR, one folder for each host.

    That are the switch with its flows, addresses, routes and iptables of each namespace, Linux bridges, and the files
    of DHCP servers. DIR must not exist; by default it is named after the cloud and the time.
    """
    cloud = existing_cloud(state)
    if cloud.dataplane != "ovs":
        raise Refused("this cloud has no data plane, so there is nothing to be seen on its hosts", "deuteron doctor")
    folder = folder or Path(time.strftime(f"{cloud.name}-dump-%Y%m%dT%H%M%SZ", time.gmtime()))
    missed: list[str] = []
    with _appearing(folder) as made:
        commands = []
        for host in stored_topology(state).hosts:
            place = made / host.name
            place.mkdir()
            for each in _host(state, host.name, missed):
                if not _NAME.fullmatch(each.name) or {".", ".."} & set(each.name.split("/")):
                    # Of bridges and namespaces, root of the host chooses the names.
                    missed.append(f"host {host.name}: {each.command}: it would be a file named {each.name!r}")
                    continue
                path = place / each.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(_without_secrets(each.text, cloud), errors="replace")
                commands.append(f"{host.name}/{each.name}\t{each.command}\n")
        (made / "commands.txt").write_text("".join(commands))
    click.echo(f"{folder}: {len(commands)} files")
    for words in missed:
        click.echo(f"not in it: {words}", err=True)
    sys.exit(1 if missed else 0)


def _host(state: State, host: str, missed: list[str]) -> list[_Text]:
    home = str(state.host(host))
    try:
        found = on_host(state, host, lambda: _look(home), _TIMEOUT_S)
    except (NotThere, SandboxError) as error:
        missed.append(f"host {host}: {error}")
    else:
        missed += [f"host {host}: {words}" for words in found["missed"]]
        return [_Text(*each) for each in found["texts"]]
    return []


@contextlib.contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A folder beside it that takes its name at the end; gone if there is none. Raises: Refused."""
    if folder.exists() or folder.is_symlink():
        raise Refused(f'"{folder}" is there already', "another DIR, which this command makes")
    try:
        making = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))  # nobody else's: mode 0700
    except OSError as error:
        raise Refused(f'cannot make "{folder}": {lower(error)}', "another DIR") from None
    before = os.umask(0o077)
    try:
        yield making
        try:
            os.rename(making, folder)
        except OSError as error:
            raise Refused(f'cannot make "{folder}": {lower(error)}', "another DIR") from None
    finally:
        os.umask(before)
        shutil.rmtree(making, ignore_errors=True)


def _without_secrets(text: str, cloud: Cloud) -> str:
    """Nothing that is asked for shows one; a guest's name or a note on a port could."""
    for secret in (cloud.admin_password, cloud.demo_password, cloud.database_password, *cloud.tokens.values()):
        if secret:
            text = text.replace(secret, _HIDDEN)
    return text


# --- on the host ------------------------------------------------------------------------------------------------------


def _look(home: str) -> dict[str, Any]:
    """Everything of the host where this runs: files with their names, and what could not be had."""
    texts: list[_Text] = []
    missed: list[str] = []
    namespaces = Namespaces()

    def ask(command: Sequence[str], name: str, namespace: str = HOST) -> None:
        words = " ".join(command)
        shown = f"ip netns exec {namespace} {words}" if namespace else words
        try:
            with namespaces.entered(namespace):
                process = start(command)
            status, output, complaint = finish(process)
        except KernelError as error:
            missed.append(f"{shown}: {error}")
            return
        if status != 0:
            missed.append(f"{shown}: {complaint or f'status {status}'}")
        else:
            texts.append(_Text(f"{name}.txt", shown, output))

    names = sorted(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else []
    for command in _NETWORK:
        ask(command, _FILE_NAMES.get(command, "-".join(command)))
        for each in names:
            ask(command, f"netns/{each}/{_FILE_NAMES.get(command, '-'.join(command))}", each)
    ask(("ip", "netns", "list"), "ip-netns-list")
    ask(("ipset", "save"), "ipset-save")
    texts.append(_Text("brctl-show.txt", "brctl show", _linux_bridges(missed)))
    bridges = bridges_here()
    if bridges:
        ask(("ovs-vsctl", "show"), "ovs-vsctl-show")
        ask(("ovs-appctl", "dpif/show"), "ovs-appctl-dpif-show")
    for bridge in bridges:
        for what in ("show", "dump-flows", "dump-ports"):
            ask(("ovs-ofctl", what, bridge), f"ovs-ofctl-{what}_{bridge}")
        ask(("ovs-appctl", "fdb/show", bridge), f"ovs-appctl-fdb-show_{bridge}")
    texts += _dnsmasq(f"{home}/dhcp")
    return {"texts": texts, "missed": missed}


def _linux_bridges(missed: list[str]) -> str:
    """As `brctl show` prints them, which many machines no longer have."""
    try:
        bridges = json.loads(_output("ip", "-j", "-d", "link", "show", "type", "bridge") or "[]")
        devices = json.loads(_output("ip", "-j", "link", "show") or "[]")
    except (KernelError, ValueError) as error:
        missed.append(f"Linux bridges: {error}")
        return ""
    lines = ["bridge name\tbridge id\t\tSTP enabled\tinterfaces"]
    for bridge in bridges:
        if not bridge:  # as some versions of ip print what is of another kind
            continue
        data = bridge.get("linkinfo", {}).get("info_data", {})
        members = sorted(each["ifname"] for each in devices if each.get("master") == bridge["ifname"]) or [""]
        stp = "yes" if data.get("stp_state") else "no"
        number = str(data.get("bridge_id", "")).replace(":", "")
        lines.append(f"{bridge['ifname']}\t{number}\t{stp}\t\t{members[0]}")
        lines += [f"\t\t\t\t\t\t\t{member}" for member in members[1:]]
    return "\n".join([*lines, ""])


def _output(*command: str) -> str:
    status, output, complaint = finish(start(command))
    if status != 0:
        raise KernelError(complaint)
    return output


def _dnsmasq(folder: str) -> Iterator[_Text]:
    """The files of DHCP servers, network by network. The host writes there, so no link is followed."""
    for network in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        for name in _DNSMASQ_FILES:
            path = f"{folder}/{network}/{name}"
            try:
                fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                continue
            with os.fdopen(fd, "rb") as file:
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    text = file.read(_LONGEST_FILE).decode(errors="replace")
                    yield _Text(f"dnsmasq/{network}/{name}", f"cat {path}", text)
