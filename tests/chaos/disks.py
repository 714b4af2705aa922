"""What must be true of servers and volumes once everything is back: rows, files, domains and sums say the same."""

from __future__ import annotations

import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deuteron.rules.compute import claims
from deuteron.rules.hosts import registry
from tests.chaos.client import Client
from tests.chaos.machines import COMPUTE, DETAILS, PATHS, VOLUME, Machines, host_of
from tests.clouds import Cloud

Lists = dict[str, list[dict[str, Any]]]
_FINAL = {
    "server": ("ACTIVE", "SHUTOFF", "VERIFY_RESIZE", "SHELVED_OFFLOADED"),
    "volume": ("available", "in-use"),
    "snapshot": ("available",),
    "image": ("active",),
}


def everything(client: Client) -> Lists:
    """All lists of the API that speak of servers, volumes and what is made of them."""
    found = {kind: client.list(path) for kind, path in DETAILS.items()}
    found["attachment"] = client.list(f"{VOLUME}/attachments/detail")
    return found


def unsettled(machines: Sequence[Machines], lists: Lists) -> list[str]:
    """What is lost, what is left, and what is in no state that stays."""
    problems = []
    there = {id: kind for each in machines for id, kind in each.there.items()}
    gone = {id: kind for each in machines for id, kind in each.gone.items()}
    seen = {kind: {item["id"]: item for item in lists[kind]} for kind in _FINAL}
    problems += [f"lost: {kind} {id}" for id, kind in there.items() if id not in seen[kind]]
    problems += [f"still there: {kind} {id}" for id, kind in gone.items() if id in seen[kind]]
    for kind, states in _FINAL.items():
        for id, item in seen[kind].items():
            task = item.get("OS-EXT-STS:task_state")
            if item["status"] not in states or task is not None:
                problems.append(f"{kind} {id} is {item['status']} ({task}): {item.get('fault', '')}")
    return problems


def half_attached(client: Client, lists: Lists, hosts: dict[str, Host]) -> list[str]:
    """Where servers, volumes, attachments and domains do not say the same of who has what."""
    problems = []
    by_volume = {
        (one["server_id"], volume["id"]) for volume in lists["volume"] for one in volume["attachments"]
    }  # fmt: skip
    by_server = {
        (server["id"], one["volumeId"])
        for server in lists["server"]
        for one in client.list(f"{PATHS['server']}/{server['id']}/os-volume_attachments")
    }
    by_block_storage = {(each["instance"], each["volume_id"]) for each in lists["attachment"]}
    by_domains = {(id, volume) for host in hosts.values() for id, disks in host.domains.items() for volume in disks}
    on_hosts = {
        pair for pair in by_server
        if any(each["id"] == pair[0] and each["OS-EXT-SRV-ATTR:host"] for each in lists["server"])
    }  # fmt: skip
    for what, pairs, wanted in (
        ("volumes", by_volume, by_server),
        ("Block Storage", by_block_storage, by_server),
        ("domains", by_domains, on_hosts),
    ):
        problems += [f"{what} know nothing of {pair}" for pair in wanted - pairs]
        problems += [f"{what} alone know of {pair}" for pair in pairs - wanted]
    for volume in lists["volume"]:
        status = "in-use" if volume["attachments"] else "available"
        if volume["status"] != status:
            problems.append(f"volume {volume['id']} is {volume['status']} with {len(volume['attachments'])} servers")
    return problems


def miscounted(client: Client, project: str, lists: Lists) -> list[str]:
    """Where quotas and Placement count other than what is there."""
    servers, volumes, snapshots = lists["server"], lists["volume"], lists["snapshot"]
    _, answer = client.call("GET", f"{COMPUTE}/limits")
    limits = answer["limits"]["absolute"]
    _, answer = client.call("GET", f"{VOLUME}/{project}/limits")
    limits |= answer["limits"]["absolute"]
    wanted = {
        "totalInstancesUsed": len(servers),
        "totalCoresUsed": sum(each["flavor"]["vcpus"] for each in servers),
        "totalRAMUsed": sum(each["flavor"]["ram"] for each in servers),
        "totalVolumesUsed": len(volumes),
        "totalSnapshotsUsed": len(snapshots),
        "totalGigabytesUsed": sum(each["size"] for each in [*volumes, *snapshots]),
    }
    problems = [f"{key} is {limits[key]}, wanted {value}" for key, value in wanted.items() if limits[key] != value]
    allowed = {(each["id"], registry.host_id(each["OS-EXT-SRV-ATTR:host"])): each["flavor"]
               for each in servers if each["OS-EXT-SRV-ATTR:host"]}  # fmt: skip
    waiting = {claims.held_id(each["id"]) for each in servers if each["status"] == "VERIFY_RESIZE"}
    held = set()
    for provider in client.list("/placement/resource_providers"):
        path = f"/placement/resource_providers/{provider['uuid']}"
        _, answer = client.call("GET", f"{path}/allocations")
        total: Counter[str] = Counter()
        for consumer, each in answer["allocations"].items():
            total.update(each["resources"])
            if consumer in waiting and consumer not in held:
                held.add(consumer)
                continue
            flavor = allowed.pop((consumer, provider["uuid"]), None)
            if flavor is None:
                problems.append(f"an allocation of nobody: {consumer} on {provider['name']}")
            elif (flavor["vcpus"], flavor["ram"]) != (each["resources"]["VCPU"], each["resources"]["MEMORY_MB"]):
                problems.append(f"server {consumer} of {flavor} takes {each['resources']}")
        _, answer = client.call("GET", f"{path}/usages")
        used = {name: amount for name, amount in answer["usages"].items() if amount}
        if used != dict(total):
            problems.append(f"{provider['name']} says {used} is used, and its allocations are {dict(total)}")
    problems += [f"server {id} takes nothing of host {host}" for id, host in allowed]
    problems += [f"nothing is held for the way back: {consumer}" for consumer in waiting - held]
    return problems


# --- hosts ------------------------------------------------------------------------------------------------------------


@dataclass
class Host:
    """What is on a host, by its files and its libvirtd."""

    instances: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    """Files in folders of servers that are of a copy or of a resize."""
    files: dict[str, str] = field(default_factory=dict)
    """Of volumes: the name to what it stands on."""
    domains: dict[str, set[str]] = field(default_factory=dict)
    """The volumes of each domain."""


_SCRIPT = """
cd {state}
for name in $(ls instances); do echo "instance $name"; done
for path in $(find instances -mindepth 2 -maxdepth 2 -name ".*" -o -mindepth 2 -maxdepth 2 -name "kept-*"); do
    echo "kept $path"; done
for path in $(find volumes -type f); do
    case $path in */raw-*|*/images/*) below=;; *)
        below=$(qemu-img info -U --output=json $path | sed -n 's/.*"backing-filename": "\\(.*\\)".*/\\1/p');; esac
    echo "file ${{path#volumes/}} $below"; done
for id in $(virsh list --all --uuid --name | grep -v " warm-" | cut -d " " -f 1); do
    echo "domain $id $(virsh dumpxml $id | sed -n 's/.*<serial>\\([0-9a-f-]\\{{36\\}}\\)<.*/\\1/p' | tr '\\n' ' ')"
done
echo end
"""


def look(cloud: Cloud, names: Sequence[str]) -> dict[str, Host]:
    """Raises: AssertionError while a host cannot be looked at."""
    found = {}
    for name in names:
        host = found[name] = Host()
        script = _SCRIPT.format(state=f"{cloud.state}/hosts/{name}")
        lines = [line.split() for line in cloud.on(name, script, check=False).splitlines()]
        assert lines and lines[-1] == ["end"], f"host {name} could not be looked at"
        for what, *words in lines[:-1]:
            if what == "instance":
                host.instances.add(words[0])
            elif what == "kept":
                host.kept.add(words[0])
            elif what == "file":
                host.files[words[0]] = words[1] if len(words) > 1 else ""
            else:
                host.domains[words[0]] = set(words[1:])
    return found


def orphaned(client: Client, cloud: Cloud, lists: Lists, hosts: dict[str, Host]) -> list[str]:
    """Files, folders and domains that no row knows, and those that rows know and nobody has."""
    problems = []
    resized = {each["id"] for each in lists["server"] if each["status"] == "VERIFY_RESIZE"}
    moved = {
        (each["source_compute"], each["instance_uuid"])
        for each in client.list(f"{COMPUTE}/os-migrations")
        if each["instance_uuid"] in resized and each["status"] == "finished"
    }
    for name, host in hosts.items():
        own = {each["id"] for each in lists["server"] if each["OS-EXT-SRV-ATTR:host"] == name}
        other = {id for source, id in moved if source == name}
        problems += _unlike(f"domain on {name}", set(host.domains), own, may=other)
        problems += _unlike(f"folder instances on {name}", host.instances, own | other)
        problems += [f"copy on {name}: left: {path}" for path in host.kept if path.split("/")[1] not in resized]
        volumes = {f"volume-{each['id']}" for each in lists["volume"] if host_of(each) == name}
        snapshots = {
            f"snapshot-{each['id']}" for each in lists["snapshot"] if f"snapshot-{each['id']}" in host.files
        }  # fmt: skip
        wanted, rest = set(volumes | snapshots), [*volumes]
        rest += [snapshot.replace("snapshot-", "base-") for snapshot in snapshots]
        while rest:
            file = rest.pop()
            wanted.add(file)
            if host.files.get(file):
                rest.append(host.files[file])
        problems += _unlike(f"file of volumes on {name}", set(host.files), wanted)
    for each in lists["snapshot"]:
        places = [name for name, host in hosts.items() if f"snapshot-{each['id']}" in host.files]
        if len(places) != 1:
            problems.append(f"snapshot {each['id']} is on {places}")
    kept = {path.name for path in (cloud.state / "api" / "images").iterdir()}
    problems += _unlike("data of image", kept, {each["id"] for each in lists["image"]})
    problems += [f"disks on their way: {path.name}" for path in (cloud.state / "api" / "moves").iterdir()]
    return problems


def _unlike(what: str, actual: set[str], wanted: set[str], may: set[str] = frozenset()) -> list[str]:  # type: ignore[assignment]  # never written
    lines = [f"{what}: left: {name}" for name in sorted(actual - wanted - may)]
    return lines + [f"{what}: missing: {name}" for name in sorted(wanted - actual)]


# --- what was written -------------------------------------------------------------------------------------------------

_WORDS = """
echo "@{id}"
words=$(mktemp)
cd {folder} && qemu-img convert -U -f qcow2 -O raw {file} $words &&
    grep -z -a -o 'chaos-[0-9]*-[0-9]*-end' $words | tr '\\0' '\\n'
rm -f $words
"""


def forgotten(cloud: Cloud, machines: Sequence[Machines], lists: Lists) -> list[str]:
    """Words that a guest had written for sure, and that are not where they should be any more."""
    volumes = {each["id"]: host_of(each) for each in lists["volume"]}
    servers = {each["id"]: each["OS-EXT-SRV-ATTR:host"] for each in lists["server"]}
    of_volume = {each["id"]: volumes[each["volume_id"]] for each in lists["snapshot"]}
    of_shelved = {each.get("instance_uuid"): each["id"] for each in lists["image"] if each["name"].endswith("-shelved")}
    wanted = {id: words for each in machines for id, words in each.held.items() if words}
    found: dict[str, set[str]] = {}
    scripts: dict[str, str] = {}
    for id in wanted:
        if id in volumes:
            place = (volumes[id], "volumes", f"volume-{id}")
        elif id in of_volume:
            place = (of_volume[id], "volumes", f"base-{id}")
        elif servers.get(id):
            place = (servers[id], f"instances/{id}", "disk")
        else:
            found[id] = _words_of(cloud.state / "api" / "images" / of_shelved.get(id, id))
            continue
        host, folder, file = place
        script = _WORDS.format(id=id, folder=f"{cloud.state}/hosts/{host}/{folder}", file=file)
        scripts[host] = scripts.get(host, "") + script
    for host, script in scripts.items():
        id = ""
        for word in cloud.on(host, script, check=False).split():
            if word.startswith("@"):
                id = word[1:]
                found[id] = set()
            else:
                found[id].add(word)
    return [
        f"{id} has forgotten {sorted(words - found.get(id, set()))} of {len(words)}"
        for id, words in wanted.items()
        if words - found.get(id, set())
    ]


def _words_of(path: Path) -> set[str]:
    with tempfile.NamedTemporaryFile() as raw:
        subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(path), raw.name], check=True)
        words = ["grep", "-z", "-a", "-o", "chaos-[0-9]*-[0-9]*-end", raw.name]
        return set(subprocess.run(words, capture_output=True, text=True).stdout.split("\0")) - {""}
