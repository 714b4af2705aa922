"""The Compute service: its routes, its version negotiation and the shape of its errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from deuteron.api.call import PASTE_MAX_BODY_BYTES, Call, Mode, Reply, Route
from deuteron.api.compute import (
    actions,
    attributes,
    extensions,
    flavors,
    groups,
    hosts,
    image_metadata,
    keypairs,
    listing,
    old_hosts,
    proxies,
    queries,
    quotas,
    servers,
    usage,
    versions,
)
from deuteron.model.errors import ApiError, NotAllowed, TooMany, Unsupported

_FAULTS: Final = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}
"""Names of error bodies by status: `{"itemNotFound": {"code": 404, "message": "Instance 1b… could not be found."}}`.

Source: nova/api/openstack/wsgi.py `Fault._fault_names`.
"""

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
                    queries.checked(method, path, handler),
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
        message = error.message if error.hint is None else f"{error.message} ({error.hint})"
        status = error.status
        if isinstance(error, NotAllowed):
            # Nova's routes hold the method too: another one matches none of them.
            status, message = 404, "The resource could not be found."
        fault: dict[str, Any] = {"code": status, "message": message}
        if isinstance(error, TooMany):
            fault["retryAfter"] = str(error.retry_after_s)
        return Reply(status, {_FAULTS.get(status, "computeFault"): fault})


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
    ("GET", f"{_S}/os-volume_attachments", attributes.list_volumes, READ),
    ("POST", f"{_S}/os-volume_attachments", extensions.refuse_volume, READ),
    ("POST", f"{_S}/remote-consoles", extensions.refuse_console, READ),
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
    ("GET", "/os-aggregates", hosts.list_aggregates, READ),
    ("GET", "/limits", quotas.show_limits, READ),
    ("GET", "/os-quota-sets/{id}", quotas.show, READ),
    ("GET", "/os-quota-sets/{id}/detail", quotas.show_detail, READ),
    ("GET", "/os-quota-sets/{id}/defaults", quotas.show_defaults, READ),
    ("PUT", "/os-quota-sets/{id}", quotas.update, WRITE),
    ("DELETE", "/os-quota-sets/{id}", quotas.reset, WRITE),
    ("GET", "/os-quota-class-sets/{id}", quotas.show_class, READ),
    ("GET", "/os-simple-tenant-usage", usage.list_all, READ),
    ("GET", "/os-simple-tenant-usage/{id}", usage.show, READ),
    ("GET", "/os-server-groups", groups.list_all, READ),
    ("POST", "/os-server-groups", groups.create, WRITE),
    ("GET", "/os-server-groups/{id}", groups.show, READ),
    ("DELETE", "/os-server-groups/{id}", groups.remove, WRITE),
    ("GET", "/os-migrations", extensions.list_migrations, READ),
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
    ("GET", "/os-networks", proxies.list_networks, READ),
    ("GET", "/os-tenant-networks", proxies.list_tenant_networks, READ),
)
