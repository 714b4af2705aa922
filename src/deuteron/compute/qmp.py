"""What libvirt has no words for is asked of QEMU itself, through libvirt's line to it.

libvirt moves guests between two libvirtd of which one may tell the other everything, that is between hosts that trust
each other with all they have. Ours do not, so the hosts do its steps themselves, each with its own QEMU alone.

Source: QEMU, docs/interop/qemu-qmp-ref; libvirt, virDomainQemuMonitorCommandWithFiles.
"""

from __future__ import annotations

import json
from typing import Any

import libvirt
import libvirt_qemu

from deuteron.compute.libvirtd import ServerFailure


def ask(dom: libvirt.virDomain, command: str, /, **arguments: Any) -> Any:
    """What QEMU answers; `_` in names of arguments stands for `-`. Raises: ServerFailure, libvirtError."""
    return _result(command, libvirt_qemu.qemuMonitorCommand(dom, _text(command, arguments), 0))


def give(dom: libvirt.virDomain, name: str, fd: int) -> None:
    """Let QEMU have an open file under a name. Raises: ServerFailure, libvirtError."""
    text = _text("getfd", {"fdname": name})
    _result("getfd", libvirt_qemu.qemuMonitorCommandWithFiles(dom, text, [fd], 0)[0])


def block_nodes(dom: libvirt.virDomain) -> dict[str, tuple[str, int]]:
    """By the alias of a disk, the name of its node and the size in bytes that its guest sees."""
    found = {}
    for each in ask(dom, "query-block"):
        inserted = each.get("inserted")
        if inserted:
            words = each.get("qdev", "").split("/")
            alias = next((word for word in words if word.startswith(("virtio-disk", "ide", "sata"))), "")
            found[alias] = (str(inserted["node-name"]), int(inserted["image"]["virtual-size"]))
    return found


def _text(command: str, arguments: dict[str, Any]) -> str:
    said = {name.replace("_", "-"): value for name, value in arguments.items()}
    return json.dumps({"execute": command, "arguments": said} if said else {"execute": command})


def _result(command: str, answer: str) -> Any:
    said = json.loads(answer)
    if "error" in said:
        raise ServerFailure(f"QEMU refuses {command}: {said['error'].get('desc', said['error'])}")
    return said["return"]
