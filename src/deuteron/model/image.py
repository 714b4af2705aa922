"""Image v2: what an image and its members are. Any other attribute of an image is a property with a text value.

Source: Glance API v2, api-ref; glance/api/v2/images.py (schemas).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from deuteron.model.codecs import Boolean, Integer, Invalid, ListOf, Object, OneOf, Text, is_uuid, quoted
from deuteron.model.resource import Attribute, Resource

if TYPE_CHECKING:
    from deuteron.model.image_rows import ImageRow, TaskRow

VISIBILITIES = ("community", "public", "private", "shared")
STATUSES = (
    "queued",
    "saving",
    "active",
    "killed",
    "deleted",
    "uploading",
    "importing",
    "pending_delete",
    "deactivated",
)
TASK_STATUSES = ("pending", "processing", "success", "failure")
TASK_TYPES = ("import", "api_image_import")
MEMBER_STATUSES = ("pending", "accepted", "rejected")
DISK_FORMATS = ("ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop", "gpt")
CONTAINER_FORMATS = ("ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed")

MAX_PROPERTIES = 128
MAX_TAGS = 128
MAX_PROPERTY_LENGTH = 65535
"""Source: glance/db/sqlalchemy/models.py, a TEXT column of MySQL."""
MAX_STORES = 64
"""That one import is to."""
MAX_CHANGES = 512
"""Operations of one JSON patch: every property and every tag that an image may have, twice."""


@dataclass(frozen=True)
class NullableOneOf:
    """One of the values, or null."""

    values: tuple[str, ...]
    column: str = "text"
    row_type: ClassVar[str] = "str"

    def decode(self, raw: Any) -> Any:
        if raw is None:
            return None
        return OneOf(self.values).decode(raw)

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": ["null", "string"], "enum": [None, *self.values]}


@dataclass(frozen=True)
class ImageId:
    """A UUID with hyphens: it becomes the name of a file."""

    column: str = "text"
    row_type: ClassVar[str] = "str"

    def decode(self, raw: Any) -> Any:
        if not isinstance(raw, str) or len(raw) != 36 or not is_uuid(raw):
            raise Invalid(f"'{quoted(raw)}' is not a valid UUID", raw)
        return raw.lower()

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        pattern = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"
        return {"type": "string", "pattern": pattern}


_COUNT = Integer(minimum=0, maximum=2147483647, strict=True)
_SIZE = Integer(nullable=True)
_STRICT = Boolean(strict=True)

IMAGE: Resource[ImageRow] = Resource(
    service="image",
    name="image",
    collection="images",
    description="A disk image: its data lie in a file, its description is a row.",
    attributes=(
        Attribute("id", ImageId(), "An identifier for the image", create=True),
        Attribute("name", Text(nullable=True), "Descriptive name for the image", create=True, update=True),
        Attribute("status", Text(), "Status of the image"),
        Attribute(
            "visibility",
            OneOf(VISIBILITIES),
            "Scope of image accessibility",
            default="shared",
            create=True,
            update=True,
        ),
        Attribute("owner", Text(nullable=True), "Owner of the image", create=True, update=True, refers_to="project"),
        Attribute(
            "container_format", NullableOneOf(CONTAINER_FORMATS), "Format of the container", create=True, update=True
        ),
        Attribute("disk_format", NullableOneOf(DISK_FORMATS), "Format of the disk", create=True, update=True),
        Attribute(
            "min_disk",
            _COUNT,
            "Amount of disk space (in GB) required to boot image.",
            default=0,
            create=True,
            update=True,
        ),
        Attribute(
            "min_ram", _COUNT, "Amount of ram (in MB) required to boot image.", default=0, create=True, update=True
        ),
        Attribute(
            "protected", _STRICT, "If true, image will not be deletable.", default=False, create=True, update=True
        ),
        Attribute(
            "os_hidden",
            _STRICT,
            "If true, image will not appear in default image list response.",
            default=False,
            create=True,
            update=True,
        ),
        Attribute("checksum", Text(nullable=True), "md5 hash of image contents."),
        Attribute("os_hash_algo", Text(nullable=True), "Algorithm to calculate the os_hash_value"),
        Attribute("os_hash_value", Text(nullable=True), "Hexdigest of the image contents using os_hash_algo"),
        Attribute("size", _SIZE, "Size of image file in bytes"),
        Attribute("virtual_size", _SIZE, "Virtual size of image in bytes"),
        Attribute("created_at", Text(), "Date and time of image registration"),
        Attribute("updated_at", Text(), "Date and time of the last image modification"),
        Attribute(
            "tags",
            ListOf(Text(max_length=255, min_length=1), max_items=MAX_TAGS),
            "List of strings related to the image",
            create=True,
            update=True,
            filter=False,
            sort=False,
        ),
    ),
    hidden=(
        Attribute("properties", Object({}, open=True), "What else is said of it.", row_type="Mapping[str, str]"),
        Attribute("sha256", Text(nullable=True), "What agents check a copy with."),
        Attribute(
            "is_inspected",
            Boolean(),
            "Whether the data are a plain disk, kernel or RAM disk that passed inspection: only those may be booted.",
        ),
        Attribute(
            "folders",
            Text(nullable=True),
            "Folders of the stores that have the data, by commas, the first of them first; nothing is `images/`.",
        ),
    ),
    indexes=(("owner",), ("visibility",)),
)

TASK: Resource[TaskRow] = Resource(
    service="image",
    name="task",
    collection="tasks",
    description="What is done for an image after the request was answered, and what became of it.",
    attributes=(
        Attribute("id", ImageId(), "An identifier for the task"),
        Attribute("type", OneOf(TASK_TYPES), "The type of task represented by this content"),
        Attribute("status", OneOf(TASK_STATUSES), "The current status of this task"),
        Attribute("owner", Text(nullable=True), "An identifier for the owner of this task", refers_to="project"),
        Attribute("input", Object({}, open=True), "The parameters required by task, JSON blob", filter=False),
        Attribute(
            "result", Object({}, open=True, nullable=True), "The result of current task, JSON blob", filter=False
        ),
        Attribute("message", Text(max_length=None), "Human-readable informative message", filter=False),
        Attribute("image_id", Text(nullable=True), "Image associated with the task", refers_to="image"),
        Attribute("request_id", Text(nullable=True), "Human-readable informative request-id"),
        Attribute("user_id", Text(nullable=True), "User associated with the task", refers_to="user"),
        Attribute("expires_at", Text(nullable=True), "Datetime when this resource would be subject to removal"),
        Attribute("created_at", Text(), "Datetime when this resource was created"),
        Attribute("updated_at", Text(), "Datetime when this resource was updated"),
    ),
    indexes=(("image_id",), ("created_at",), ("expires_at",)),
    followed=False,
)
