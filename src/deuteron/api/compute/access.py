"""Who may do what with servers: Nova's rule names with its defaults, and finding a server for a caller."""

from __future__ import annotations

from typing import Any, Final

from deuteron.api.call import Call
from deuteron.model.errors import Forbidden
from deuteron.rules.compute import servers
from deuteron.rules.compute.faults import no_server
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.store.database import Tx

_READ: Final = "rule:admin_or_project_reader"
_WRITE: Final = "rule:admin_or_project_member"
_ADMIN: Final = "rule:admin_only"
_MANAGER: Final = "rule:admin_only or (role:manager and project_id:%(project_id)s)"
_ANYONE: Final = "@"
_P: Final = "os_compute_api:"
CACHE_IMAGES: Final = "compute:aggregates:images"
TOPOLOGY: Final = "compute:server:topology"
_OTHER: Final = "compute:"
"""How the few rules begin that Nova calls otherwise."""

POLICIES: Final[dict[str, str]] = {
    f"{_P}servers:index": _READ,
    f"{_P}servers:detail": _READ,
    f"{_P}servers:index:get_all_tenants": _ADMIN,
    f"{_P}servers:show": _READ,
    f"{_P}servers:show:flavor-extra-specs": _READ,
    f"{_P}servers:show:host_status": _ADMIN,
    f"{_P}os-extended-server-attributes": _ADMIN,
    f"{_P}servers:create": _WRITE,
    f"{_P}servers:create:forced_host": _ADMIN,
    f"{_P}servers:create:attach_network": _WRITE,
    f"{_P}servers:create:attach_volume": _WRITE,
    f"{_P}servers:create_image": _WRITE,
    f"{_P}servers:create_image:allow_volume_backed": _WRITE,
    f"{_P}os-create-backup": _WRITE,
    f"{_P}os-admin-password": _WRITE,
    f"{_P}os-rescue": _WRITE,
    f"{_P}os-unrescue": _WRITE,
    f"{_P}os-evacuate": _ADMIN,
    f"{_P}os-shelve:shelve": _WRITE,
    f"{_P}os-shelve:shelve_offload": _ADMIN,
    f"{_P}os-shelve:unshelve": _WRITE,
    f"{_P}os-shelve:unshelve_to_host": _ADMIN,
    f"{_P}servers:resize": _WRITE,
    f"{_P}servers:confirm_resize": _WRITE,
    f"{_P}servers:revert_resize": _WRITE,
    f"{_P}servers:update": _WRITE,
    f"{_P}servers:delete": _WRITE,
    f"{_P}os-deferred-delete:restore": _WRITE,
    f"{_P}servers:reboot": _WRITE,
    f"{_P}servers:rebuild": _WRITE,
    f"{_P}servers:start": _WRITE,
    f"{_P}servers:stop": _WRITE,
    f"{_P}servers:trigger_crash_dump": _WRITE,
    f"{_P}os-pause-server:pause": _WRITE,
    f"{_P}os-pause-server:unpause": _WRITE,
    f"{_P}os-suspend-server:suspend": _WRITE,
    f"{_P}os-suspend-server:resume": _WRITE,
    f"{_P}os-lock-server:lock": _WRITE,
    f"{_P}os-lock-server:unlock": _WRITE,
    f"{_P}os-lock-server:unlock:unlock_override": _ADMIN,
    f"{_P}os-admin-actions:reset_state": _ADMIN,
    f"{_P}os-admin-actions:inject_network_info": _ADMIN,
    f"{_P}os-console-output": _WRITE,
    f"{_P}os-remote-consoles": _WRITE,
    f"{_P}os-console-auth-tokens": _ADMIN,
    f"{_P}os-security-groups:list": _READ,
    f"{_P}os-security-groups:add": _WRITE,
    f"{_P}os-security-groups:remove": _WRITE,
    f"{_P}os-security-groups:get": _READ,
    f"{_P}os-security-groups:show": _READ,
    f"{_P}os-security-groups:create": _WRITE,
    f"{_P}os-security-groups:update": _WRITE,
    f"{_P}os-security-groups:delete": _WRITE,
    f"{_P}os-security-groups:rule:create": _WRITE,
    f"{_P}os-security-groups:rule:delete": _WRITE,
    f"{_P}os-attach-interfaces:list": _READ,
    f"{_P}os-attach-interfaces:show": _READ,
    f"{_P}os-attach-interfaces:create": _WRITE,
    f"{_P}os-attach-interfaces:delete": _WRITE,
    f"{_P}ips:index": _READ,
    f"{_P}ips:show": _READ,
    f"{_P}server-metadata:index": _READ,
    f"{_P}server-metadata:show": _READ,
    f"{_P}server-metadata:create": _WRITE,
    f"{_P}server-metadata:update": _WRITE,
    f"{_P}server-metadata:update_all": _WRITE,
    f"{_P}server-metadata:delete": _WRITE,
    f"{_P}os-server-tags:index": _READ,
    f"{_P}os-server-tags:show": _READ,
    f"{_P}os-server-tags:update": _WRITE,
    f"{_P}os-server-tags:update_all": _WRITE,
    f"{_P}os-server-tags:delete": _WRITE,
    f"{_P}os-server-tags:delete_all": _WRITE,
    f"{_P}os-instance-actions:list": _READ,
    f"{_P}os-instance-actions:show": _READ,
    f"{_P}os-instance-actions:events": _ADMIN,
    f"{_P}os-server-diagnostics": _ADMIN,
    f"{TOPOLOGY}:index": _READ,
    f"{TOPOLOGY}:host:index": _ADMIN,
    f"{_P}os-server-password:show": _READ,
    f"{_P}os-server-password:clear": _WRITE,
    f"{_P}os-server-external-events:create": "role:service or rule:admin_only",
    f"{_P}os-instance-usage-audit-log:list": _ADMIN,
    f"{_P}os-instance-usage-audit-log:show": _ADMIN,
    f"{_P}os-volumes:list": _READ,
    f"{_P}os-volumes:snapshots:list": _READ,
    f"{_P}os-volumes:detail": _READ,
    f"{_P}os-volumes:snapshots:detail": _READ,
    f"{_P}os-volumes:show": _READ,
    f"{_P}os-volumes:snapshots:show": _READ,
    f"{_P}os-volumes:create": _WRITE,
    f"{_P}os-volumes:snapshots:create": _WRITE,
    f"{_P}os-volumes:delete": _WRITE,
    f"{_P}os-volumes:snapshots:delete": _WRITE,
    f"{_P}os-server-shares:index": _READ,
    f"{_P}os-server-shares:show": _READ,
    f"{_P}os-server-shares:create": _WRITE,
    f"{_P}os-server-shares:delete": _WRITE,
    f"{_P}os-volumes-attachments:index": _READ,
    f"{_P}os-volumes-attachments:create": _WRITE,
    f"{_P}os-volumes-attachments:show": _READ,
    f"{_P}os-volumes-attachments:update": _WRITE,
    f"{_P}os-volumes-attachments:swap": "rule:admin_only or role:service",
    f"{_P}os-volumes-attachments:delete": _WRITE,
    f"{_P}os-keypairs:index": "rule:admin_only or user_id:%(user_id)s",
    f"{_P}os-keypairs:show": "rule:admin_only or user_id:%(user_id)s",
    f"{_P}os-keypairs:create": "rule:admin_only or user_id:%(user_id)s",
    f"{_P}os-keypairs:delete": "rule:admin_only or user_id:%(user_id)s",
    f"{_P}os-flavor-manage:create": _ADMIN,
    f"{_P}os-flavor-manage:update": _ADMIN,
    f"{_P}os-flavor-manage:delete": _ADMIN,
    f"{_P}os-flavor-access": _ADMIN,
    f"{_P}os-flavor-access:add_tenant_access": _ADMIN,
    f"{_P}os-flavor-access:remove_tenant_access": _ADMIN,
    f"{_P}os-flavor-extra-specs:index": _READ,
    f"{_P}os-flavor-extra-specs:show": _READ,
    f"{_P}os-flavor-extra-specs:create": _ADMIN,
    f"{_P}os-flavor-extra-specs:update": _ADMIN,
    f"{_P}os-flavor-extra-specs:delete": _ADMIN,
    f"{_P}os-availability-zone:list": _ANYONE,
    f"{_P}os-availability-zone:detail": _ADMIN,
    f"{_P}os-services:list": _ADMIN,
    f"{_P}os-services:update": _ADMIN,
    f"{_P}os-services:delete": _ADMIN,
    f"{_P}os-hosts:list": _ADMIN,
    f"{_P}os-hosts:show": _ADMIN,
    f"{_P}os-hosts:update": _ADMIN,
    f"{_P}os-hosts:start": _ADMIN,
    f"{_P}os-hosts:shutdown": _ADMIN,
    f"{_P}os-hosts:reboot": _ADMIN,
    f"{_P}os-hypervisors:list": _ADMIN,
    f"{_P}os-hypervisors:list-detail": _ADMIN,
    f"{_P}os-hypervisors:statistics": _ADMIN,
    f"{_P}os-hypervisors:show": _ADMIN,
    f"{_P}os-hypervisors:uptime": _ADMIN,
    f"{_P}os-hypervisors:search": _ADMIN,
    f"{_P}os-hypervisors:servers": _ADMIN,
    f"{_P}os-aggregates:index": _ADMIN,
    f"{_P}os-aggregates:show": _ADMIN,
    f"{_P}os-aggregates:create": _ADMIN,
    f"{_P}os-aggregates:update": _ADMIN,
    f"{_P}os-aggregates:delete": _ADMIN,
    f"{_P}os-aggregates:add_host": _ADMIN,
    f"{_P}os-aggregates:remove_host": _ADMIN,
    f"{_P}os-aggregates:set_metadata": _ADMIN,
    CACHE_IMAGES: _ADMIN,
    f"{_P}os-migrate-server:migrate": _MANAGER,
    f"{_P}os-migrate-server:migrate:host": _ADMIN,
    f"{_P}os-migrate-server:migrate_live": _MANAGER,
    f"{_P}os-migrate-server:migrate_live:host": _ADMIN,
    f"{_P}os-migrations:index": _MANAGER,
    f"{_P}os-migrations:index:all_projects": _ADMIN,
    f"{_P}os-migrations:index:host": _ADMIN,
    f"{_P}servers:migrations:index": _MANAGER,
    f"{_P}servers:migrations:index:host": _ADMIN,
    f"{_P}servers:migrations:show": _ADMIN,
    f"{_P}servers:migrations:delete": _MANAGER,
    f"{_P}servers:migrations:force_complete": _MANAGER,
    f"{_P}os-networks:list": _READ,
    f"{_P}os-networks:show": _READ,
    f"{_P}os-multinic:add": _WRITE,
    f"{_P}os-multinic:remove": _WRITE,
    f"{_P}os-floating-ips:list": _READ,
    f"{_P}os-floating-ips:show": _READ,
    f"{_P}os-floating-ips:create": _WRITE,
    f"{_P}os-floating-ips:delete": _WRITE,
    f"{_P}os-floating-ips:add": _WRITE,
    f"{_P}os-floating-ips:remove": _WRITE,
    f"{_P}os-floating-ip-pools": _ANYONE,
    f"{_P}os-tenant-networks:list": _READ,
    f"{_P}os-tenant-networks:show": _READ,
    f"{_P}extensions": _ANYONE,
    f"{_P}limits": _ANYONE,
    f"{_P}limits:other_project": _ADMIN,
    f"{_P}os-quota-sets:show": _READ,
    f"{_P}os-quota-class-sets:show": _ADMIN,
    f"{_P}os-quota-class-sets:update": _ADMIN,
    f"{_P}os-quota-sets:detail": _READ,
    f"{_P}os-quota-sets:defaults": _ANYONE,
    f"{_P}os-quota-sets:update": _ADMIN,
    f"{_P}os-quota-sets:delete": _ADMIN,
    f"{_P}os-simple-tenant-usage:show": _READ,
    f"{_P}os-simple-tenant-usage:list": _ADMIN,
    f"{_P}os-server-groups:index": _READ,
    f"{_P}os-server-groups:show": _READ,
    f"{_P}os-server-groups:create": _WRITE,
    f"{_P}os-server-groups:delete": _WRITE,
}
"""Source: nova 34.0.0, nova/policies/*.py; tests/unit/personas/ compares each rule with it."""


def require(call: Call, rule: str, **target: Any) -> None:
    """Raises: Forbidden in Nova's words. `rule` is given without its prefix."""
    if not allowed(call, rule, **target):
        raise disallowed(_whole(rule))


def disallowed(rule: str) -> Forbidden:
    """`rule` is given with its prefix."""
    return Forbidden(f"Policy doesn't allow {rule} to be performed.", type="PolicyNotAuthorized")


def allowed(call: Call, rule: str, **target: Any) -> bool:
    """Whether the caller may; without a target, in the caller's own project."""
    if not target:
        target = {"project_id": call.caller.project_id, "user_id": call.caller.user_id}
    return call.policy.check(call.caller, _whole(rule), target)


def _whole(rule: str) -> str:
    return rule if rule.startswith(_OTHER) else _P + rule


def server_for(call: Call, tx: Tx, rule: str, server_id: str | None = None) -> ServerRow:
    """The server of the path, for a caller that may do `rule` with it.

    Raises: NotFound when there is none, or it is another project's; Forbidden for a role that is too low.
    """
    return _for_caller(call, rule, servers.find(tx, call.params["id"] if server_id is None else server_id))


def _for_caller(call: Call, rule: str, row: ServerRow) -> ServerRow:
    if not allowed(call, rule, project_id=row.project_id, user_id=row.user_id):
        if row.project_id != call.caller.project_id:
            raise no_server(row.id)
        raise disallowed(_whole(rule))
    return row


def server_or_gone(call: Call, tx: Tx, rule: str) -> ServerRow:
    """As `server_for`; from 2.21 on also a server that is gone. Raises: NotFound, Forbidden."""
    gone = servers.find_gone(tx, call.params["id"]) if call.version >= 21 else None
    return server_for(call, tx, rule) if gone is None else _for_caller(call, rule, gone)
