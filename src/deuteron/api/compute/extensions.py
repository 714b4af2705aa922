"""What is listed for clients that look for it: extensions, migrations; and refusals that say what is missing."""

from __future__ import annotations

from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access
from deuteron.api.compute.errors import not_built
from deuteron.model.errors import NotFound
from deuteron.store.database import Tx

_ALIASES: Final = (
    "OS-DCF", "OS-EXT-AZ", "OS-EXT-IPS", "OS-EXT-IPS-MAC", "OS-EXT-SRV-ATTR", "OS-EXT-STS", "OS-FLV-DISABLED",
    "OS-FLV-EXT-DATA", "OS-SCH-HNT", "OS-SRV-USG", "os-admin-actions", "os-aggregates", "os-attach-interfaces",
    "os-availability-zone", "os-config-drive", "os-console-output", "os-create-server-ext", "os-extended-volumes",
    "os-flavor-access", "os-flavor-extra-specs", "os-flavor-manage", "os-hypervisors", "os-instance-actions",
    "os-keypairs", "os-lock-server", "os-multiple-create", "os-pause-server", "os-quota-class-sets", "os-quota-sets",
    "os-security-groups", "os-server-groups", "os-server-tags", "os-services", "os-simple-tenant-usage",
    "os-suspend-server", "os-used-limits", "os-user-data",
)  # fmt: skip
"""Nova's extensions that are built here. From v2.1 on extensions are history; some clients still look for names."""


def list_all(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"extensions": [_view(alias) for alias in _ALIASES]})


def show(call: Call, tx: Tx) -> Reply:
    alias = call.params["alias"]
    if alias not in _ALIASES:
        raise NotFound("The resource could not be found.", type="HTTPNotFound")
    return Reply(200, {"extension": _view(alias)})


def list_migrations(call: Call, tx: Tx) -> Reply:
    """Servers do not move in this cloud, so the list is empty."""
    access.require(call, "os-services:list")
    return Reply(200, {"migrations": []})


def refuse_volume(call: Call, tx: Tx) -> Reply:
    access.server_for(call, tx, "servers:show")
    raise not_built("Attaching a volume", "Volumes are not built yet.")


def refuse_console(call: Call, tx: Tx) -> Reply:
    access.server_for(call, tx, "os-remote-consoles")
    raise not_built("A remote console", "Use the console log, or ssh through a floating IP.")


def _view(alias: str) -> dict[str, Any]:
    name = "".join(part.capitalize() for part in alias.replace("os-", "", 1).split("-"))
    return {
        "alias": alias,
        "name": name,
        "description": f"{name} of the Compute API.",
        "namespace": "http://docs.openstack.org/compute/ext/fake_xml",
        "updated": "2014-12-03T00:00:00Z",
        "links": [],
    }
