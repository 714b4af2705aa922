"""What one project lets others use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from deuteron.model.codecs import Invalid, Text, Uuid, quoted
from deuteron.model.network.codecs import Target
from deuteron.model.network.shared import ID, PROJECT_ID, READ, TENANT_ID, WRITE
from deuteron.model.resource import REQUIRED, Attribute, Resource

if TYPE_CHECKING:
    from deuteron.model.network.rows import RbacPolicyRow

SHAREABLE: Final = ("network", "security_group", "subnetpool", "address_scope", "address_group", "qos_policy")
"""Those kinds that say what names them (`Resource.used_by`)."""


@dataclass(frozen=True)
class ObjectType:
    """One of `kinds`, however it is written."""

    kinds: tuple[str, ...]
    column: str = "text"
    row_type: ClassVar[str] = "str"

    def decode(self, raw: Any) -> Any:
        kind = raw.strip().lower() if isinstance(raw, str) else raw
        if kind not in self.kinds:
            raise Invalid(
                f"'{quoted(raw)}' is not a valid RBAC object type; accepted: {', '.join(self.kinds)}",
                raw,
            )
        return kind

    def decode_filter(self, text: str) -> Any:
        return self.decode(text)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.kinds)}


# fmt: off
RBAC_POLICY: Resource[RbacPolicyRow] = Resource(
    service="network",
    name="rbac_policy",
    collection="rbac-policies",
    missing=("RbacPolicyNotFound", "RBAC policy with ID {} not found"),
    description="A network, security group, subnet pool or the like that another project may use.",
    attributes=tuple(replace(each, sort=False) for each in (
        ID,
        PROJECT_ID,
        TENANT_ID,
        Attribute("object_type", ObjectType(SHAREABLE), "Its kind: network, security_group, subnetpool …",
                  default=REQUIRED, create=True),
        Attribute("object_id", Uuid(), "What is shared.", default=REQUIRED, create=True),
        Attribute("target_tenant", Target(), "The project that may use it, or *.", default=REQUIRED, create=True,
                  update=True),
        Attribute("action", Text(255), "access_as_shared or access_as_external.", default=REQUIRED, create=True),
    )),
    indexes=(("project_id",), ("target_tenant",), ("object_id",)),
    unique=(("object_type", "object_id", "target_tenant", "action"),),
    rules={
        "create": WRITE,
        "get": READ,
        "update": WRITE,
        "delete": WRITE,
        "create:target_tenant": "rule:admin_only or not field:rbac_policy:target_tenant=*",
        "update:target_tenant": "rule:admin_only or not field:rbac_policy:target_tenant=*",
    },
    quota=10,
    followed=False,
)
