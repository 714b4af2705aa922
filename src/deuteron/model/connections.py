"""How a guest of a host gets at the data of a volume: what a volume driver answers, and what a hypervisor opens."""

from __future__ import annotations

from typing import Literal

import msgspec


class FileConnection(msgspec.Struct, frozen=True, tag_field="kind", tag="file"):
    """The guest opens a file, which lies in its folder."""

    path: str
    format: Literal["qcow2", "raw"] = "qcow2"


class IscsiConnection(msgspec.Struct, frozen=True, tag_field="kind", tag="iscsi"):
    """The host opens a logical unit, by QEMU's own initiator, and hands it to the guest."""

    portal: str
    """Address and port: "192.0.2.7:3260"."""
    target: str
    """The target's IQN."""
    lun: int
    initiator: str
    """The IQN that the host says it is."""
    user: str = ""
    password: str = ""
    """For CHAP; "" for none."""

    def __repr__(self) -> str:
        return f"IscsiConnection({self.portal}, {self.target}, lun={self.lun})"


class RbdConnection(msgspec.Struct, frozen=True, tag_field="kind", tag="rbd"):
    """The host opens an image of a Ceph cluster, by QEMU's own client, and hands it to the guest."""

    conf: str
    """The file that says where the monitors are."""
    user: str
    """Without `client.`."""
    pool: str
    image: str
    key: str = ""
    """The user's; "" for one that the file says where to find."""

    def __repr__(self) -> str:
        return f"RbdConnection({self.pool}/{self.image}, user={self.user})"

    @property
    def node(self) -> dict[str, object]:
        """The disk as QEMU's block driver has it, but for its key."""
        return {"driver": "rbd", "pool": self.pool, "image": self.image, "conf": self.conf, "user": self.user}


class SocketConnection(msgspec.Struct, frozen=True, tag_field="kind", tag="socket"):
    """The guest opens a raw disk at a socket of the host, where NBD is spoken: what a host makes of what it holds."""

    path: str


class SealedConnection(msgspec.Struct, frozen=True, tag_field="kind", tag="luks"):
    """The host opens what is encrypted by LUKS, and hands the data in it to the guest."""

    below: FileConnection | IscsiConnection | RbdConnection
    """Where the encrypted data are."""
    secret: str
    """What opens them."""

    def __repr__(self) -> str:
        return f"SealedConnection({self.below})"


HeldConnection = IscsiConnection | RbdConnection | SealedConnection
"""What a process of the host opens for the guest."""

Connection = FileConnection | IscsiConnection | RbdConnection
"""What a driver answers: data as they are kept, encrypted or not."""

GuestConnection = FileConnection | SocketConnection
"""What a guest's hypervisor opens."""
