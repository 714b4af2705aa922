"""Declarations of the compute service: what a flavor, a key pair, a server, its actions and groups are.

The Compute API changes the shape of its answers with the microversion, so answers are code (`api/compute/views.py`);
these declarations give the tables and the rules of single values.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from deuteron.model.codecs import Anything, Boolean, Codec, Integer, Text, Uuid
from deuteron.model.resource import REQUIRED, Attribute, Resource
from deuteron.model.scalars import PortId

VmState = Literal[
    "building",
    "active",
    "stopped",
    "paused",
    "suspended",
    "rescued",
    "resized",
    "shelved_offloaded",
    "error",
    "deleted",
]

POWER_NOSTATE: Final = 0
POWER_RUNNING: Final = 1
POWER_PAUSED: Final = 3
POWER_SHUTDOWN: Final = 4
POWER_CRASHED: Final = 6
POWER_SUSPENDED: Final = 7
"""Power states as Nova numbers them. Source: nova/compute/power_state.py."""

POWER_NAMES: Final = {
    POWER_NOSTATE: "pending",
    POWER_RUNNING: "running",
    POWER_PAUSED: "paused",
    POWER_SHUTDOWN: "shutdown",
    POWER_CRASHED: "crashed",
    POWER_SUSPENDED: "suspended",
}

NAME: Final = Text(max_length=255, min_length=1)
"""A name; Nova strips blanks at both ends and refuses an empty rest."""


class Flavor(msgspec.Struct, frozen=True):
    """What a server keeps of its flavor: the flavor may be deleted while the server lives."""

    flavorid: str
    name: str
    vcpus: int
    ram: int
    disk: int
    ephemeral: int = 0
    swap: int = 0
    extra_specs: dict[str, str] = {}


class Nic(msgspec.Struct, frozen=True):
    """One interface of a server, in the order of the guest's devices."""

    port_id: PortId
    owned: bool
    """Made with the server or by attaching a network: deleted with it. Ports given by the user are only unbound."""
    tag: str | None = None


class File(msgspec.Struct, frozen=True):
    """A file that a user puts on the server's config drive (`personality`)."""

    path: str
    contents: str
    """Base64."""


class Injected(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the config drive holds beyond what the metadata service says, from the request until the drive is made."""

    files: tuple[File, ...] = ()
    admin_pass: str | None = None


class Inherited(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an image that is made of a server has of the server's own image, and of who made the server."""

    min_ram: int = 0
    min_disk: int = 0
    container_format: str = "bare"
    properties: dict[str, str] = {}


class Rescue(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a server is rescued with: images as the host fetches them."""

    image_id: str
    image: Any
    kernel_id: str | None = None
    kernel: Any = None
    ramdisk_id: str | None = None
    ramdisk: Any = None
    kernel_args: str = ""
    device: str | None = None
    """`disk` or `cdrom` where the image says what it is to be (`hw_rescue_device`): a disk beside all the others."""
    bus: str | None = None


class Shelved(msgspec.Struct, frozen=True):
    """Where the disk of a shelved server is."""

    image_id: str | None
    """None where it is a volume."""
    power: str
    """What its domain should have been before."""


class Resize(msgspec.Struct, frozen=True):
    """What a server was before it was resized."""

    flavor: Flavor
    generation: int
    """The shape generation of the resize; until it is confirmed its host keeps the disk of the one before."""


class Move(msgspec.Struct, frozen=True, omit_defaults=True):
    """A server that is on its way from a host to another, or came and may go back."""

    id: str
    """Names its disks while the API has them."""
    source: str
    dest: str
    is_given: bool = False
    """Whether the API has the disks; from then on the server's host is `dest`."""
    is_taken: bool = False
    """Whether `dest` has made its own of them."""
    is_reverting: bool = False
    """Whether it goes back as soon as `dest` has ended it and let its volumes go."""


class LiveMove(msgspec.Struct, frozen=True, omit_defaults=True):
    """A server that goes to another host while its guest runs."""

    id: str
    """That of its migration; names what the hosts send each other."""
    source: str
    dest: str
    is_forced: bool = False
    """Whether its guest is to stand still, so that its memory goes over for sure."""
    is_sent: bool = False
    """Whether `source` has given all of it, and goes on only when it is told to."""
    is_loaded: bool = False
    """Whether `dest` has all of it, and goes on only when it is told to."""
    is_done: bool = False
    """Whether the server is `dest`'s, which has not yet said that it runs."""


class PendingImage(msgspec.Struct, frozen=True, omit_defaults=True):
    """An image that the server's host is to make of its disk; none other is begun before it is done."""

    image_id: str
    backup_type: str | None = None
    rotation: int | None = None
    """How many backups of the type are kept; None for an image that is no backup."""


def _a(name: str, codec: Codec, description: str, **more: Any) -> Attribute:
    return Attribute(name, codec, description, **more)


FLAVOR: Final = Resource(
    "compute",
    "flavor",
    "flavors",
    "The size of a server.",
    (
        _a("id", Text(255, 1), "What users name it by: flavorid.", create=True),
        _a("name", NAME, "Unique among flavors.", create=True, default=REQUIRED),
        _a("vcpus", Integer(1, 2**31 - 1), "Virtual processors.", create=True, default=REQUIRED),
        _a("ram", Integer(1, 2**31 - 1), "Memory in MiB.", create=True, default=REQUIRED),
        _a(
            "disk",
            Integer(0, 2**31 - 1),
            "Root disk in GiB; 0 is as large as the image.",
            create=True,
            default=REQUIRED,
        ),
        _a("ephemeral", Integer(0, 2**31 - 1), "A second disk in GiB.", create=True, default=0),
        _a("swap", Integer(0, 2**31 - 1), "Swap disk in MiB.", create=True, default=0),
        _a("is_public", Boolean(), "Whether every project sees it.", create=True, default=True),
        _a("disabled", Boolean(), "Kept for the API's shape; always false.", default=False),
        _a("description", Text(65535, nullable=True), "Free text.", create=True, update=True),
        _a("extra_specs", Anything(), "Free keys and values."),
        _a("projects", Anything(), "Projects that see it when it is not public."),
        _a("created_at", Text(), "When it was made, UTC."),
        _a("rxtx_factor", Text(nullable=True), "A number, kept and shown; None is 1.0.", create=True),
    ),
    unique=(("name",),),
)

KEYPAIR: Final = Resource(
    "compute",
    "keypair",
    "keypairs",
    "A public key that servers let in.",
    (
        _a("id", Text(), "`<user>/<name>`: a name is unique for its user."),
        _a("number", Integer(), "The integer that answers show as id."),
        _a("user_id", Text(), "Whose it is."),
        _a("name", Text(255, 1), "Its name.", create=True, default=REQUIRED),
        _a("type", Text(), "`ssh` or `x509`."),
        _a("public_key", Text(16384, 1), "One line in OpenSSH's form, or a certificate in PEM.", create=True),
        _a("fingerprint", Text(), "MD5 of the key, colon separated, as Nova shows it."),
        _a("created_at", Text(), "When it was made, UTC."),
    ),
    indexes=(("user_id", "name"), ("number",)),
)

SERVER: Final = Resource(
    "compute",
    "server",
    "servers",
    "A virtual machine.",
    (
        _a("id", Uuid(), "Its id."),
        _a("number", Integer(), "Grows with each server: the order of those made in one second."),
        _a("name", NAME, "Its display name.", create=True, update=True, default=REQUIRED),
        _a("description", Text(255, nullable=True), "Free text.", create=True, update=True),
        _a("hostname", Text(), "The guest's host name."),
        _a("project_id", Text(), "Whose it is."),
        _a("user_id", Text(), "Who made it."),
        _a("created", Text(), "When it was asked for, UTC, ISO 8601 with Z."),
        _a("updated", Text(), "Its last change."),
        _a("launched_at", Text(), "When it first ran."),
        _a("vm_state", Text(), "What it is, in Nova's words."),
        _a("task_state", Text(nullable=True), "What is being done to it."),
        _a("power_state", Integer(), "What its domain is, as Nova numbers it."),
        _a("power", Text(), "What its domain should be: running, shutdown, paused or suspended."),
        _a("reboot_generation", Integer(), "Counts reboots asked for."),
        _a("reboot_kind", Text(), "SOFT or HARD, of the last one."),
        _a("build_generation", Integer(), "Counts disks made from the image."),
        _a("host", Text(nullable=True), "Where it is; None while unscheduled."),
        _a("availability_zone", Text(nullable=True), "Where it was asked to be."),
        _a("image_id", Text(nullable=True), "Its image."),
        _a("image", Anything(), "The image as the host fetches it: kept, since the image may be deleted."),
        _a("kernel", Anything(), "The image's kernel, in the same form."),
        _a("ramdisk", Anything(), "The image's ramdisk, in the same form."),
        _a("kernel_args", Text(), "The kernel's command line."),
        _a("machine_type", Text(nullable=True), "QEMU machine type from the image's properties."),
        _a("flavor", Anything(), "Its flavor as it was when asked for: `Flavor`."),
        _a("key_name", Text(nullable=True), "Its key pair."),
        _a("key_data", Text(nullable=True), "The public key, as it was."),
        _a("user_data", Text(nullable=True), "Base64, handed to the guest by the metadata service."),
        _a("metadata", Anything(), "Free keys and values."),
        _a("tags", Anything(), "Its tags, in order."),
        _a("nics", Anything(), "Its interfaces, in order: list of `Nic`."),
        _a("security_groups", Anything(), "Names or ids asked for at create."),
        _a("locked", Boolean(), "Whether its owner may act on it."),
        _a("locked_by", Text(nullable=True), "`owner` or `admin`."),
        _a("locked_reason", Text(nullable=True), "Why."),
        _a("access_ipv4", Text(), "Free text of the owner."),
        _a("access_ipv6", Text(), "Free text of the owner."),
        _a("disk_config", Text(), "AUTO or MANUAL, kept and shown."),
        _a("reservation_id", Text(), "Common to servers of one request."),
        _a("launch_index", Integer(), "Its place among them."),
        _a("group_id", Text(nullable=True), "Its server group."),
        _a("fault", Anything(), "What went wrong: code, created, message, details."),
        _a("progress", Integer(), "0, or 100 when it runs."),
        _a("config_drive", Boolean(), "Whether it has a config drive."),
        _a("injected", Anything(), "What only its config drive holds, until that is made: `Injected`."),
        _a("key_type", Text(nullable=True), "`ssh` or `x509`: what its key pair is."),
        _a("state_reset", Boolean(), "Whether an administrator set its state, and nothing was asked of it since."),
        _a("inherited", Anything(), "What images made of it have of its own: `Inherited`."),
        _a("snapshot", Anything(), "The image that its host is to make of it: `PendingImage`."),
        _a("shape_generation", Integer(), "Counts rescues, resizes and the ways back."),
        _a("rescue", Anything(), "What it is rescued with, while it is: `Rescue`."),
        _a("resize", Anything(), "What it was before it was resized, until that is confirmed or reverted: `Resize`."),
        _a("shelved", Anything(), "The image that its disk is while it is shelved: `Shelved`."),
        _a("restore", Integer(nullable=True), "The resize that was reverted last: its shape generation."),
        _a("move", Anything(), "Its move to another host, until that is confirmed or reverted: `Move`."),
        _a("other_host", Text(nullable=True), "The host at the other end of its move."),
        _a("live", Anything(), "Its move to another host while its guest runs, until it runs there: `LiveMove`."),
        _a("scheduler_hints", Anything(), "The hints that it was asked for with, each as a list."),
        _a("password", Text(nullable=True), "What the guest gave as its password, encrypted for its key pair."),
    ),
    indexes=(
        ("project_id", "created", "number", "id"),
        ("created", "number", "id"),
        ("host",),
        ("other_host",),
        ("number",),
        ("group_id",),
        ("task_state",),
    ),
)

BLOCK_DEVICE: Final = Resource(
    "compute",
    "block_device",
    "block_devices",
    "A volume that a server has, or is to have.",
    (
        _a("id", Uuid(), "Its id."),
        _a("server_id", Uuid(), "The server."),
        _a("volume_id", Uuid(), "The volume."),
        _a("attachment_id", Uuid(), "What Block Storage knows it by."),
        _a("device", Text(), "What the server calls it: /dev/vdb."),
        _a("tag", Text(nullable=True), "A word to find it by inside the server."),
        _a("delete_on_termination", Boolean(), "Whether the volume goes with the server."),
        _a("is_root", Boolean(), "Whether the server boots from it."),
        _a("is_readonly", Boolean(), "Whether the server may only read it."),
        _a("state", Text(), "attaching, attached or detaching."),
        _a("number", Integer(), "Its place among those of the server."),
    ),
    indexes=(("server_id", "number"), ("volume_id",)),
)

DELETED_SERVER: Final = Resource(
    "compute",
    "deleted_server",
    "deleted_servers",
    "What is kept of a server that is gone, for those who ask what became of it.",
    (*SERVER.attributes, _a("deleted_at", Text(), "When it was gone, UTC, ISO 8601 with Z.")),
    indexes=(("project_id", "deleted_at"), ("deleted_at",)),
)

ACTION: Final = Resource(
    "compute",
    "action",
    "actions",
    "What somebody asked of a server.",
    (
        _a("id", Text(), "`<server>/<request>`."),
        _a("server_id", Text(), "The server."),
        _a("request_id", Text(), "The request that asked."),
        _a("action", Text(), "create, delete, stop, …"),
        _a("user_id", Text(), "Who asked."),
        _a("project_id", Text(), "For which project."),
        _a("start_time", Text(), "When."),
        _a("updated_at", Text(), "The last change."),
        _a("message", Text(nullable=True), "`Error` when it failed."),
        _a("events", Anything(), "Its steps: event, start_time, finish_time, result, host, details."),
    ),
    indexes=(("server_id",),),
)

MIGRATION: Final = Resource(
    "compute",
    "migration",
    "migrations",
    "A server that changed its host or its size, or is about to.",
    (
        _a("id", Uuid(), "Its id."),
        _a("number", Integer(), "The integer that answers show as id."),
        _a("server_id", Text(), "The server."),
        _a("type", Text(), "resize, migration, live-migration or evacuation."),
        _a("status", Text(), "How far it is, in Nova's words."),
        _a("source", Text(nullable=True), "The host that the server leaves."),
        _a("dest", Text(nullable=True), "The host that it comes to; the same when it is resized where it is."),
        _a("project_id", Text(), "The project of who asked."),
        _a("user_id", Text(), "Who asked."),
        _a("created_at", Text(), "When, UTC."),
        _a("updated_at", Text(nullable=True), "The last change of its status."),
        _a("figures", Anything(), "How much of a live one has gone over, in bytes: `LiveFigures`."),
    ),
    indexes=(("server_id", "number"), ("number",), ("created_at", "number", "id"), ("project_id", "number")),
)

GROUP: Final = Resource(
    "compute",
    "server_group",
    "server_groups",
    "Servers placed with regard to each other.",
    (
        _a("id", Uuid(), "Its id."),
        _a("name", NAME, "Its name."),
        _a("policy", Text(), "affinity, anti-affinity, soft-affinity or soft-anti-affinity."),
        _a("rules", Anything(), "`max_server_per_host` of anti-affinity."),
        _a("project_id", Text(), "Whose it is."),
        _a("user_id", Text(), "Who made it."),
    ),
    indexes=(("project_id",),),
)
