"""The Compute service: its routes, its version negotiation and the shape of its errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from deuteron.api.call import PASTE_MAX_BODY_BYTES, Call, Mode, Reply, Route
from deuteron.api.compute import (
    actions,
    aggregates,
    attributes,
    audits,
    consoles,
    diagnostics,
    extensions,
    external_events,
    flavors,
    floating_ips,
    groups,
    hosts,
    image_metadata,
    keypairs,
    listing,
    migrations,
    old_hosts,
    proxies,
    queries,
    quotas,
    servers,
    shares,
    topology,
    usage,
    versions,
    volume_proxies,
    volumes,
)
from deuteron.api.microversions import fault
from deuteron.model.errors import ApiError, TooMany, Unsupported

READ, WRITE, ASYNC = Mode.READ, Mode.WRITE, Mode.ASYNC


class ComputeService:
    """Nova's v2.1 dialect under /compute."""

    name = "compute"
    prefix = "/compute"
    max_body_bytes = PASTE_MAX_BODY_BYTES
    exact_paths = True
    same_words = False

    def routes(self) -> tuple[Route, ...]:
        routes = [
            Route("GET", "/", versions.index, auth=False),
            Route("GET", "/v2.1", versions.show, auth=False),
            Route("GET", "/v2", versions.show_legacy, auth=False),
        ]
        for root in ("/v2.1", "/v2"):
            routes += [
                Route(
                    method,
                    root + path,
                    _while_there(path, queries.checked(method, path, handler)),
                    mode,
                    before=before,
                    before_is_long=before is not None,
                )
                for method, path, handler, mode in _ROUTES
                for before in (_BEFORE.get(handler),)
            ]
        return tuple(routes)

    def prepare(self, call: Call) -> None:
        call.extra_headers["x-compute-request-id"] = call.request_id
        media_type = call.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type and media_type not in _MEDIA_TYPES:
            raise Unsupported("Unsupported Content-Type")
        call.version = versions.MINIMUM
        if call.path.startswith("/v2/"):
            return  # v2.0 knows no microversions
        call.extra_headers.update(versions.headers(call.version))
        call.version = versions.negotiate(call)
        call.extra_headers.update(versions.headers(call.version))

    def error(self, call: Call | None, error: ApiError) -> Reply:
        if error.status == 401:
            body = {"error": {"code": 401, "title": "Unauthorized", "message": error.message}}
            return Reply(401, body, {"www-authenticate": 'Keystone uri="/identity"'})
        more = {"retryAfter": str(error.retry_after_s)} if isinstance(error, TooMany) else {}
        return Reply(*fault(error, **more))


def _while_there(path: str, handler: Callable[..., Any]) -> Callable[..., Any]:
    """`os-volumes_boot` was another name of `servers` until 2.102."""
    return versions.until(102, handler) if path.startswith("/os-volumes_boot") else handler


_MEDIA_TYPES = frozenset({"application/json", "application/vnd.openstack.compute+json", "text/plain"})
"""Source: nova/api/openstack/wsgi.py `_SUPPORTED_CONTENT_TYPES`, `Request.get_content_type`."""
_BEFORE: Mapping[Callable[..., Any], Callable[[Call], Any]] = {keypairs.create: keypairs.prepare}
"""What a handler has made before its turn of the writer."""
_S = "/servers/{id}"
_ROUTES = (
    ("GET", "/flavors", flavors.list_brief, READ),
    ("GET", "/flavors/detail", flavors.list_detail, READ),
    ("POST", "/flavors", flavors.create, WRITE),
    ("GET", "/flavors/{id}", flavors.show, READ),
    ("PUT", "/flavors/{id}", flavors.update_description, WRITE),
    ("DELETE", "/flavors/{id}", flavors.remove, WRITE),
    ("POST", "/flavors/{id}/action", flavors.act, WRITE),
    ("GET", "/flavors/{id}/os-flavor-access", flavors.list_access, READ),
    ("GET", "/flavors/{id}/os-extra_specs", flavors.list_specs, READ),
    ("POST", "/flavors/{id}/os-extra_specs", flavors.create_specs, WRITE),
    ("GET", "/flavors/{id}/os-extra_specs/{key}", flavors.show_spec, READ),
    ("PUT", "/flavors/{id}/os-extra_specs/{key}", flavors.update_spec, WRITE),
    ("DELETE", "/flavors/{id}/os-extra_specs/{key}", flavors.remove_spec, WRITE),
    ("GET", "/os-keypairs", keypairs.list_all, READ),
    ("POST", "/os-keypairs", keypairs.create, WRITE),
    ("GET", "/os-keypairs/{name}", keypairs.show, READ),
    ("DELETE", "/os-keypairs/{name}", keypairs.remove, WRITE),
    ("GET", "/servers", listing.list_brief, READ),
    ("GET", "/servers/detail", listing.list_detail, READ),
    ("POST", "/servers", servers.create, WRITE),
    ("GET", _S, servers.show, READ),
    ("PUT", _S, servers.update, WRITE),
    ("DELETE", _S, servers.remove, WRITE),
    ("POST", f"{_S}/action", actions.act, ASYNC),
    ("GET", f"{_S}/metadata", attributes.list_metadata, READ),
    ("POST", f"{_S}/metadata", attributes.merge_metadata, WRITE),
    ("PUT", f"{_S}/metadata", attributes.replace_metadata, WRITE),
    ("GET", f"{_S}/metadata/{{key}}", attributes.show_metadata, READ),
    ("PUT", f"{_S}/metadata/{{key}}", attributes.set_metadata, WRITE),
    ("DELETE", f"{_S}/metadata/{{key}}", attributes.remove_metadata, WRITE),
    ("GET", f"{_S}/tags", attributes.list_tags, READ),
    ("PUT", f"{_S}/tags", attributes.replace_tags, WRITE),
    ("DELETE", f"{_S}/tags", attributes.remove_tags, WRITE),
    ("GET", f"{_S}/tags/{{tag}}", attributes.show_tag, READ),
    ("PUT", f"{_S}/tags/{{tag}}", attributes.add_tag, WRITE),
    ("DELETE", f"{_S}/tags/{{tag}}", attributes.remove_tag, WRITE),
    ("GET", f"{_S}/ips", attributes.list_addresses, READ),
    ("GET", f"{_S}/ips/{{network}}", attributes.show_addresses, READ),
    ("GET", f"{_S}/os-security-groups", attributes.list_security_groups, READ),
    ("GET", f"{_S}/os-interface", attributes.list_interfaces, READ),
    ("POST", f"{_S}/os-interface", attributes.attach_interface, WRITE),
    ("GET", f"{_S}/os-interface/{{port}}", attributes.show_interface, READ),
    ("DELETE", f"{_S}/os-interface/{{port}}", attributes.detach_interface, WRITE),
    ("GET", f"{_S}/os-volume_attachments", volumes.list_all, READ),
    ("POST", f"{_S}/os-volume_attachments", volumes.attach, WRITE),
    ("GET", f"{_S}/os-volume_attachments/{{volume}}", volumes.show, READ),
    ("PUT", f"{_S}/os-volume_attachments/{{volume}}", volumes.update, WRITE),
    ("DELETE", f"{_S}/os-volume_attachments/{{volume}}", volumes.detach, WRITE),
    ("GET", f"{_S}/shares", shares.list_all, READ),
    ("POST", f"{_S}/shares", shares.create, WRITE),
    ("GET", f"{_S}/shares/{{share}}", shares.show, READ),
    ("DELETE", f"{_S}/shares/{{share}}", shares.remove, WRITE),
    ("POST", f"{_S}/remote-consoles", consoles.create, ASYNC),
    ("GET", f"{_S}/migrations", migrations.list_of_server, READ),
    ("GET", f"{_S}/migrations/{{migration}}", migrations.show_of_server, READ),
    ("DELETE", f"{_S}/migrations/{{migration}}", migrations.abort, WRITE),
    ("POST", f"{_S}/migrations/{{migration}}/action", migrations.force_complete, WRITE),
    ("GET", f"{_S}/diagnostics", diagnostics.show, ASYNC),
    ("GET", f"{_S}/topology", topology.show, READ),
    ("GET", f"{_S}/os-server-password", attributes.show_password, READ),
    ("DELETE", f"{_S}/os-server-password", attributes.clear_password, WRITE),
    ("GET", f"{_S}/os-instance-actions", attributes.list_actions, READ),
    ("GET", f"{_S}/os-instance-actions/{{request}}", attributes.show_action, READ),
    ("GET", "/os-availability-zone", hosts.list_zones, READ),
    ("GET", "/os-availability-zone/detail", hosts.list_zones_detail, READ),
    ("GET", "/os-services", hosts.list_services, READ),
    ("PUT", "/os-services/{id}", hosts.put_service, WRITE),
    ("DELETE", "/os-services/{id}", hosts.remove_service, WRITE),
    ("GET", "/os-hosts", old_hosts.list_all, READ),
    ("GET", "/os-hosts/{id}", old_hosts.show, READ),
    ("PUT", "/os-hosts/{id}", old_hosts.refuse, READ),
    ("GET", "/os-hosts/{id}/startup", old_hosts.refuse, READ),
    ("GET", "/os-hosts/{id}/shutdown", old_hosts.refuse, READ),
    ("GET", "/os-hosts/{id}/reboot", old_hosts.refuse, READ),
    ("GET", "/os-hypervisors", hosts.list_hypervisors, READ),
    ("GET", "/os-hypervisors/detail", hosts.list_hypervisors_detail, READ),
    ("GET", "/os-hypervisors/statistics", hosts.statistics, READ),
    ("GET", "/os-hypervisors/{id}", hosts.show_hypervisor, READ),
    ("GET", "/os-hypervisors/{id}/uptime", hosts.hypervisor_uptime, READ),
    ("GET", "/os-hypervisors/{id}/search", hosts.search_hypervisors, READ),
    ("GET", "/os-hypervisors/{id}/servers", hosts.hypervisor_servers, READ),
    ("GET", "/os-aggregates", aggregates.list_all, READ),
    ("POST", "/os-aggregates", aggregates.create, WRITE),
    ("GET", "/os-aggregates/{id}", aggregates.show, READ),
    ("PUT", "/os-aggregates/{id}", aggregates.update, WRITE),
    ("DELETE", "/os-aggregates/{id}", aggregates.remove, WRITE),
    ("POST", "/os-aggregates/{id}/action", aggregates.act, WRITE),
    ("POST", "/os-aggregates/{id}/images", aggregates.cache_images, WRITE),
    ("GET", "/limits", quotas.show_limits, READ),
    ("GET", "/os-quota-sets/{id}", quotas.show, READ),
    ("GET", "/os-quota-sets/{id}/detail", quotas.show_detail, READ),
    ("GET", "/os-quota-sets/{id}/defaults", quotas.show_defaults, READ),
    ("PUT", "/os-quota-sets/{id}", quotas.update, WRITE),
    ("DELETE", "/os-quota-sets/{id}", quotas.reset, WRITE),
    ("GET", "/os-quota-class-sets/{id}", quotas.show_class, READ),
    ("PUT", "/os-quota-class-sets/{id}", quotas.update_class, WRITE),
    ("GET", "/os-simple-tenant-usage", usage.list_all, READ),
    ("GET", "/os-simple-tenant-usage/{id}", usage.show, READ),
    ("GET", "/os-instance_usage_audit_log", audits.list_all, READ),
    ("GET", "/os-instance_usage_audit_log/{id}", audits.show, READ),
    ("POST", "/os-server-external-events", external_events.create, WRITE),
    ("GET", "/os-server-groups", groups.list_all, READ),
    ("POST", "/os-server-groups", groups.create, WRITE),
    ("GET", "/os-server-groups/{id}", groups.show, READ),
    ("DELETE", "/os-server-groups/{id}", groups.remove, WRITE),
    ("GET", "/os-console-auth-tokens/{token}", consoles.show_token, ASYNC),
    ("GET", "/os-migrations", migrations.list_all, READ),
    ("GET", "/extensions", extensions.list_all, READ),
    ("GET", "/extensions/{alias}", extensions.show, READ),
    ("GET", "/images", proxies.list_images, READ),
    ("GET", "/images/detail", proxies.list_images_detail, READ),
    ("GET", "/images/{id}", proxies.show_image, READ),
    ("DELETE", "/images/{id}", image_metadata.remove_image, ASYNC),
    ("GET", "/images/{id}/metadata", image_metadata.index, READ),
    ("POST", "/images/{id}/metadata", image_metadata.merge, WRITE),
    ("PUT", "/images/{id}/metadata", image_metadata.replace, WRITE),
    ("GET", "/images/{id}/metadata/{key}", image_metadata.show, READ),
    ("PUT", "/images/{id}/metadata/{key}", image_metadata.set_one, WRITE),
    ("DELETE", "/images/{id}/metadata/{key}", image_metadata.remove, WRITE),
    ("GET", "/os-security-groups", proxies.list_groups, READ),
    ("POST", "/os-security-groups", proxies.create_group, WRITE),
    ("GET", "/os-security-groups/{id}", proxies.show_group, READ),
    ("PUT", "/os-security-groups/{id}", proxies.update_group, WRITE),
    ("DELETE", "/os-security-groups/{id}", proxies.remove_group, WRITE),
    ("POST", "/os-security-group-rules", proxies.create_rule, WRITE),
    ("DELETE", "/os-security-group-rules/{id}", proxies.remove_rule, WRITE),
    ("GET", "/os-volumes", volume_proxies.list_volumes, READ),
    ("GET", "/os-volumes/detail", volume_proxies.list_volumes_detail, READ),
    ("POST", "/os-volumes", volume_proxies.create_volume, WRITE),
    ("GET", "/os-volumes/{id}", volume_proxies.show_volume, READ),
    ("DELETE", "/os-volumes/{id}", volume_proxies.remove_volume, WRITE),
    ("GET", "/os-snapshots", volume_proxies.list_snapshots, READ),
    ("GET", "/os-snapshots/detail", volume_proxies.list_snapshots_detail, READ),
    ("POST", "/os-snapshots", volume_proxies.create_snapshot, WRITE),
    ("GET", "/os-snapshots/{id}", volume_proxies.show_snapshot, READ),
    ("DELETE", "/os-snapshots/{id}", volume_proxies.remove_snapshot, WRITE),
    ("GET", "/os-floating-ips", floating_ips.list_all, READ),
    ("POST", "/os-floating-ips", floating_ips.create, WRITE),
    ("GET", "/os-floating-ips/{id}", floating_ips.show, READ),
    ("DELETE", "/os-floating-ips/{id}", floating_ips.remove, WRITE),
    ("GET", "/os-floating-ip-pools", floating_ips.list_pools, READ),
    # The same as servers under another path, where Nova has it still.
    ("GET", "/os-volumes_boot", listing.list_brief, READ),
    ("GET", "/os-volumes_boot/detail", listing.list_detail, READ),
    ("POST", "/os-volumes_boot", servers.create, WRITE),
    ("GET", "/os-volumes_boot/{id}", servers.show, READ),
    ("PUT", "/os-volumes_boot/{id}", servers.update, WRITE),
    ("DELETE", "/os-volumes_boot/{id}", servers.remove, WRITE),
    ("POST", "/os-volumes_boot/{id}/action", actions.act, ASYNC),
    ("GET", "/os-networks", proxies.list_networks, READ),
    ("GET", "/os-networks/{id}", proxies.show_network, READ),
    ("GET", "/os-tenant-networks", proxies.list_tenant_networks, READ),
    ("GET", "/os-tenant-networks/{id}", proxies.show_tenant_network, READ),
)
