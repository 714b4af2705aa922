"""What is listed for clients that look for it: extensions; and refusals that say what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access
from deuteron.model.errors import NotFound
from deuteron.store.database import Tx

EXTENSIONS: Final[Mapping[str, tuple[str, str]]] = {
    "OS-DCF": ("DiskConfig", "OS-DCF:diskConfig of servers."),
    "OS-EXT-AZ": ("ExtendedAvailabilityZone", "The availability zone of servers."),
    "OS-EXT-IMG-SIZE": ("ImageSize", "The size of images, before 2.36."),
    "OS-EXT-IPS": ("ExtendedIps", "The type of addresses."),
    "OS-EXT-IPS-MAC": ("ExtendedIpsMac", "The MAC address of addresses."),
    "OS-EXT-SRV-ATTR": ("ExtendedServerAttributes", "Where a server is, for administrators."),
    "OS-EXT-STS": ("ExtendedStatus", "vm_state, task_state and power_state of servers."),
    "OS-FLV-DISABLED": ("FlavorDisabled", "Whether a flavor is disabled."),
    "OS-FLV-EXT-DATA": ("FlavorExtraData", "The ephemeral disk of flavors."),
    "OS-SCH-HNT": ("SchedulerHints", "The server group as a hint."),
    "OS-SRV-USG": ("ServerUsage", "When servers were launched and terminated."),
    "os-access-ips": ("AccessIPs", "accessIPv4 and accessIPv6 of servers."),
    "os-admin-actions": ("AdminActions", "os-resetState."),
    "os-aggregates": ("Aggregates", "Aggregates of hosts, which make availability zones."),
    "os-attach-interfaces": ("AttachInterfaces", "Interfaces of servers."),
    "os-availability-zone": ("AvailabilityZone", "The availability zone, and the hosts in it."),
    "os-admin-password": ("AdminPassword", "changePassword."),
    "os-config-drive": ("ConfigDrive", "config_drive of servers."),
    "os-console-auth-tokens": ("ConsoleAuthTokens", "What a token of a console is for."),
    "os-console-output": ("ConsoleOutput", "The console log."),
    "os-consoles": ("Consoles", "Screens and terminals of servers."),
    "os-create-backup": ("CreateBackup", "createBackup."),
    "os-create-server-ext": ("Createserverext", "Networks and security groups of a new server."),
    "os-deferred-delete": ("DeferredDelete", "forceDelete, restore."),
    "os-evacuate": ("Evacuate", "evacuate."),
    "os-extended-hypervisors": ("ExtendedHypervisors", "Details of hypervisors."),
    "os-extended-quotas": ("ExtendedQuotas", "Going back to the default quotas; force."),
    "os-extended-services": ("ExtendedServices", "Why a service is disabled."),
    "os-extended-status": ("ExtendedStatus", "Status of hypervisors."),
    "os-extended-volumes": ("ExtendedVolumes", "Which volumes servers have."),
    "os-flavor-access": ("FlavorAccess", "Which projects see a flavor."),
    "os-flavor-extra-specs": ("FlavorExtraSpecs", "Keys and values of flavors."),
    "os-flavor-manage": ("FlavorManage", "Making and deleting flavors."),
    "os-flavor-rxtx": ("FlavorRxtx", "rxtx_factor of flavors."),
    "os-flavor-swap": ("FlavorSwap", "Swap of flavors."),
    "os-hosts": ("Hosts", "Hosts, before 2.43."),
    "os-hypervisor-status": ("HypervisorStatus", "State and status of hypervisors."),
    "os-hypervisors": ("Hypervisors", "Hypervisors."),
    "os-instance-actions": ("InstanceActions", "What was asked of servers."),
    "os-instance_usage_audit_log": ("OSInstanceUsageAuditLog", "Hosts that noted what was used: none."),
    "os-keypairs": ("Keypairs", "Key pairs."),
    "os-lock-server": ("LockServer", "lock and unlock."),
    "os-multiple-create": ("MultipleCreate", "Several servers at once."),
    "os-networks": ("Networks", "Networks, before 2.36."),
    "os-pause-server": ("PauseServer", "pause and unpause."),
    "os-personality": ("Personality", "Files on the config drive, before 2.57."),
    "os-migrations": ("Migrations", "Resizes, migrations and evacuations."),
    "os-quota-class-sets": ("QuotaClasses", "The default quotas."),
    "os-quota-sets": ("Quotas", "Quotas of projects."),
    "os-remote-consoles": ("Consoles", "Screens and terminals of servers."),
    "os-rescue": ("Rescue", "rescue and unrescue."),
    "os-security-groups": ("SecurityGroups", "Security groups of servers."),
    "os-server-diagnostics": ("ServerDiagnostics", "How the guest of a server does."),
    "os-server-external-events": ("ServerExternalEvents", "What other services say of servers."),
    "os-server-group-quotas": ("ServerGroupQuotas", "Quotas of server groups and their members."),
    "os-server-groups": ("ServerGroups", "Server groups."),
    "os-server-list-multi-status": ("ServerListMultiStatus", "Several statuses as a filter."),
    "os-server-password": ("ServerPassword", "The password that a guest gave."),
    "os-server-sort-keys": ("ServerSortKeys", "sort_key and sort_dir of servers."),
    "os-server-start-stop": ("ServerStartStop", "os-start and os-stop."),
    "os-services": ("Services", "Services of hosts."),
    "os-shelve": ("Shelve", "shelve, shelveOffload and unshelve."),
    "os-simple-tenant-usage": ("SimpleTenantUsage", "Hours that servers ran."),
    "os-suspend-server": ("SuspendServer", "suspend and resume."),
    "os-tenant-networks": ("OSTenantNetworks", "Networks of the project, before 2.36."),
    "os-used-limits": ("UsedLimits", "What is used of the limits."),
    "os-used-limits-for-admin": ("UsedLimitsForAdmin", "The same of another project."),
    "os-user-data": ("UserData", "user_data of servers."),
    "os-volumes": ("Volumes", "Volumes of servers."),
}
"""Alias to Nova's name and a word on what is built here. From v2.1 on extensions are history; clients still look.

Source of aliases and names: nova/api/openstack/compute/extension_info.py.
"""


def list_all(call: Call, tx: Tx) -> Reply:
    access.require(call, "extensions")
    return Reply(200, {"extensions": [_view(alias) for alias in EXTENSIONS]})


def show(call: Call, tx: Tx) -> Reply:
    access.require(call, "extensions")
    alias = call.params["alias"]
    if alias not in EXTENSIONS:
        raise NotFound("The resource could not be found.", type="HTTPNotFound")
    return Reply(200, {"extension": _view(alias)})


def _view(alias: str) -> dict[str, Any]:
    name, description = EXTENSIONS[alias]
    return {
        "alias": alias,
        "name": name,
        "description": description,
        "namespace": "http://docs.openstack.org/compute/ext/fake_xml",
        "updated": "2014-12-03T00:00:00Z",
        "links": [],
    }
