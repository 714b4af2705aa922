"""The Block Storage service: its routes, its version negotiation and the shape of its errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from deuteron.api.call import PASTE_MAX_BODY_BYTES, Call, Mode, Reply, Route
from deuteron.api.microversions import Since, fault
from deuteron.api.volume import (
    actions,
    attachments,
    backups,
    default_types,
    encryption,
    extensions,
    group_types,
    groups,
    manage,
    messages,
    operations,
    qos_specs,
    quotas,
    services,
    snapshots,
    transfers,
    types,
    versions,
    volumes,
)
from deuteron.model.errors import ApiError, BadRequest, TooLarge, TooMany, Unsupported

_MEDIA_TYPES: Final = frozenset({"application/json", "application/vnd.openstack.volume+json", "text/plain"})

READ, WRITE, ASYNC = Mode.READ, Mode.WRITE, Mode.ASYNC


class VolumeService:
    """Cinder's v3 dialect under /volume, with the project's id in the path and without."""

    name = "volume"
    prefix = "/volume"
    max_body_bytes = PASTE_MAX_BODY_BYTES
    exact_paths = True
    same_words = False

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/", versions.index, auth=False),
            Route("GET", "/v3", versions.show, auth=False),
            *(
                Route(method, root + path, handler if root == "/v3" else _OfProject(handler), mode)
                for root in ("/v3", "/v3/{project_id}")
                for method, path, handler, mode in _ROUTES
            ),
        )

    def prepare(self, call: Call) -> None:
        call.extra_headers["x-compute-request-id"] = call.request_id
        media_type = call.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type and media_type not in _MEDIA_TYPES:
            raise Unsupported("Unsupported Content-Type")
        call.version = versions.MINIMUM
        call.extra_headers.update(versions.headers(call.version))
        call.version = versions.negotiate(call)
        call.extra_headers.update(versions.headers(call.version))

    def error(self, call: Call | None, error: ApiError) -> Reply:
        if error.status == 401:
            body = {"error": {"code": 401, "title": "Unauthorized", "message": error.message}}
            return Reply(401, body, {"www-authenticate": 'Keystone uri="/identity"'})
        more = {"retryAfter": "0"} if isinstance(error, TooLarge) else {}
        if isinstance(error, TooMany):
            more["retryAfter"] = str(error.retry_after_s)
        return Reply(*fault(error, **more))


@dataclass(frozen=True)
class _OfProject:
    """A handler below the project's id, which is that of the token. Raises: BadRequest for another."""

    handler: Callable[..., Any]

    def __call__(self, call: Call, *tx: Any) -> Any:
        if call.params["project_id"] != call.caller.project_id:
            raise BadRequest("Malformed request url", type="HTTPBadRequest")
        return self.handler(call, *tx)


_V = "/volumes/{id}"
_S = "/snapshots/{id}"
_T = "/types/{id}"
_B = "/backups/{id}"
_G = "/groups/{id}"
_GS = "/group_snapshots/{id}"
_GT = "/group_types/{id}"
_Q = "/qos-specs/{id}"
_ROUTES: Final[tuple[tuple[str, str, Callable[..., Any], Mode], ...]] = (
    ("GET", "/volumes", volumes.list_brief, READ),
    ("POST", "/volumes", volumes.create, WRITE),
    ("GET", "/volumes/detail", volumes.list_detail, READ),
    ("GET", "/volumes/summary", Since(12, volumes.summary), READ),
    ("GET", _V, volumes.show, READ),
    ("PUT", _V, volumes.update, WRITE),
    ("DELETE", _V, volumes.remove, WRITE),
    ("POST", f"{_V}/action", actions.act, WRITE),
    ("GET", f"{_V}/encryption", encryption.of_volume, READ),
    ("GET", f"{_V}/metadata", volumes.list_metadata, READ),
    ("POST", f"{_V}/metadata", volumes.merge_metadata, WRITE),
    ("PUT", f"{_V}/metadata", volumes.replace_metadata, WRITE),
    ("GET", f"{_V}/metadata/{{key}}", volumes.show_metadata, READ),
    ("PUT", f"{_V}/metadata/{{key}}", volumes.set_metadata, WRITE),
    ("DELETE", f"{_V}/metadata/{{key}}", volumes.remove_metadata, WRITE),
    ("GET", "/snapshots", snapshots.list_brief, READ),
    ("POST", "/snapshots", snapshots.create, WRITE),
    ("GET", "/snapshots/detail", snapshots.list_detail, READ),
    ("GET", _S, snapshots.show, READ),
    ("PUT", _S, snapshots.update, WRITE),
    ("DELETE", _S, snapshots.remove, WRITE),
    ("POST", f"{_S}/action", actions.act_on_snapshot, WRITE),
    ("GET", f"{_S}/metadata", snapshots.list_metadata, READ),
    ("POST", f"{_S}/metadata", snapshots.merge_metadata, WRITE),
    ("PUT", f"{_S}/metadata", snapshots.replace_metadata, WRITE),
    ("GET", f"{_S}/metadata/{{key}}", snapshots.show_metadata, READ),
    ("PUT", f"{_S}/metadata/{{key}}", snapshots.set_metadata, WRITE),
    ("DELETE", f"{_S}/metadata/{{key}}", snapshots.remove_metadata, WRITE),
    ("GET", "/attachments", Since(27, attachments.list_brief), READ),
    ("POST", "/attachments", Since(27, attachments.create), WRITE),
    ("GET", "/attachments/detail", Since(27, attachments.list_detail), READ),
    ("GET", "/attachments/{id}", Since(27, attachments.show), READ),
    ("PUT", "/attachments/{id}", Since(27, attachments.update), WRITE),
    ("DELETE", "/attachments/{id}", Since(27, attachments.remove), WRITE),
    ("POST", "/attachments/{id}/action", Since(44, attachments.act), WRITE),
    ("GET", "/backups", backups.list_brief, READ),
    ("POST", "/backups", backups.create, WRITE),
    ("GET", "/backups/detail", backups.list_detail, READ),
    ("POST", "/backups/import_record", backups.import_record, WRITE),
    ("GET", _B, backups.show, READ),
    ("PUT", _B, Since(9, backups.update), WRITE),
    ("DELETE", _B, backups.remove, WRITE),
    ("POST", f"{_B}/restore", backups.restore, WRITE),
    ("GET", f"{_B}/export_record", backups.export_record, READ),
    ("POST", f"{_B}/action", backups.act, WRITE),
    ("GET", "/group_types", Since(11, group_types.list_all), READ),
    ("POST", "/group_types", Since(11, group_types.create), WRITE),
    ("GET", _GT, Since(11, group_types.show), READ),
    ("PUT", _GT, Since(11, group_types.update), WRITE),
    ("DELETE", _GT, Since(11, group_types.remove), WRITE),
    ("GET", f"{_GT}/group_specs", Since(11, group_types.list_specs), READ),
    ("POST", f"{_GT}/group_specs", Since(11, group_types.create_specs), WRITE),
    ("GET", f"{_GT}/group_specs/{{key}}", Since(11, group_types.show_spec), READ),
    ("PUT", f"{_GT}/group_specs/{{key}}", Since(11, group_types.update_spec), WRITE),
    ("DELETE", f"{_GT}/group_specs/{{key}}", Since(11, group_types.remove_spec), WRITE),
    ("GET", "/groups", Since(13, groups.list_brief), READ),
    ("POST", "/groups", Since(13, groups.create), WRITE),
    ("GET", "/groups/detail", Since(13, groups.list_detail), READ),
    ("POST", "/groups/action", Since(14, groups.create_from), WRITE),
    ("GET", _G, Since(13, groups.show), READ),
    ("PUT", _G, Since(13, groups.update), WRITE),
    ("POST", f"{_G}/action", Since(13, groups.act), WRITE),
    ("GET", "/group_snapshots", Since(14, groups.list_snapshots), READ),
    ("POST", "/group_snapshots", Since(14, groups.create_snapshot), WRITE),
    ("GET", "/group_snapshots/detail", Since(14, groups.list_snapshots_detail), READ),
    ("GET", _GS, Since(14, groups.show_snapshot), READ),
    ("DELETE", _GS, Since(14, groups.remove_snapshot), WRITE),
    ("POST", f"{_GS}/action", Since(19, groups.act_on_snapshot), WRITE),
    *(
        route
        for root, since in (("/os-volume-transfer", 0), ("/volume-transfers", 55))
        for route in (
            ("GET", root, Since(since, transfers.list_brief), READ),
            ("POST", root, Since(since, transfers.create), WRITE),
            ("GET", f"{root}/detail", Since(since, transfers.list_detail), READ),
            ("GET", f"{root}/{{id}}", Since(since, transfers.show), READ),
            ("DELETE", f"{root}/{{id}}", Since(since, transfers.remove), WRITE),
            ("POST", f"{root}/{{id}}/accept", Since(since, transfers.accept), WRITE),
        )
    ),
    *(
        route
        for kind, since in (("os-volume-manage", 0), ("manageable_volumes", 8))
        for route in (
            ("GET", f"/{kind}", Since(since, manage.list_volumes), ASYNC),
            ("GET", f"/{kind}/detail", Since(since, manage.list_volumes_detail), ASYNC),
            ("POST", f"/{kind}", Since(since, manage.create_volume), ASYNC),
        )
    ),
    *(
        route
        for kind, since in (("os-snapshot-manage", 0), ("manageable_snapshots", 8))
        for route in (
            ("GET", f"/{kind}", Since(since, manage.list_snapshots), ASYNC),
            ("GET", f"/{kind}/detail", Since(since, manage.list_snapshots_detail), ASYNC),
            ("POST", f"/{kind}", Since(since, manage.create_snapshot), WRITE),
        )
    ),
    ("GET", "/os-availability-zone", services.list_zones, READ),
    ("GET", "/os-services", services.list_services, READ),
    ("PUT", "/os-services/{action}", services.set_service, WRITE),
    ("GET", "/os-hosts", operations.list_hosts, READ),
    ("GET", "/os-hosts/{name}", operations.show_host, READ),
    ("PUT", "/os-hosts/{name}", operations.set_host, WRITE),
    ("GET", "/clusters", Since(7, operations.list_clusters), READ),
    ("GET", "/clusters/detail", Since(7, operations.list_clusters), READ),
    ("GET", "/clusters/{id}", Since(7, operations.show_cluster), READ),
    ("PUT", "/clusters/{id}", Since(7, operations.set_cluster), WRITE),
    ("POST", "/workers/cleanup", Since(24, operations.clean_up), WRITE),
    ("GET", "/scheduler-stats/get_pools", services.list_pools, READ),
    ("GET", "/capabilities/{name}", services.show_capabilities, READ),
    ("GET", "/resource_filters", Since(33, services.list_filters), READ),
    ("GET", "/types", types.list_all, READ),
    ("POST", "/types", types.create, WRITE),
    ("GET", _T, types.show, READ),
    ("PUT", _T, types.update, WRITE),
    ("DELETE", _T, types.remove, WRITE),
    ("POST", f"{_T}/action", types.act, WRITE),
    ("GET", f"{_T}/os-volume-type-access", types.list_access, READ),
    ("GET", f"{_T}/extra_specs", types.list_specs, READ),
    ("POST", f"{_T}/extra_specs", types.create_specs, WRITE),
    ("GET", f"{_T}/extra_specs/{{key}}", types.show_spec, READ),
    ("PUT", f"{_T}/extra_specs/{{key}}", types.update_spec, WRITE),
    ("DELETE", f"{_T}/extra_specs/{{key}}", types.remove_spec, WRITE),
    ("GET", f"{_T}/encryption", encryption.show, READ),
    ("POST", f"{_T}/encryption", encryption.create, WRITE),
    ("PUT", f"{_T}/encryption/{{key}}", encryption.update, WRITE),
    ("DELETE", f"{_T}/encryption/{{key}}", encryption.remove, WRITE),
    ("GET", f"{_T}/encryption/{{key}}", encryption.show_item, READ),
    ("GET", "/default-types", Since(62, default_types.list_all), READ),
    ("GET", "/default-types/{id}", Since(62, default_types.show), READ),
    ("PUT", "/default-types/{id}", Since(62, default_types.put), WRITE),
    ("DELETE", "/default-types/{id}", Since(62, default_types.unset), WRITE),
    ("GET", "/qos-specs", qos_specs.list_all, READ),
    ("POST", "/qos-specs", qos_specs.create, WRITE),
    ("GET", _Q, qos_specs.show, READ),
    ("PUT", _Q, qos_specs.update, WRITE),
    ("DELETE", _Q, qos_specs.remove, WRITE),
    ("PUT", f"{_Q}/delete_keys", qos_specs.remove_keys, WRITE),
    ("GET", f"{_Q}/associations", qos_specs.list_associations, READ),
    ("GET", f"{_Q}/associate", qos_specs.associate, WRITE),
    ("GET", f"{_Q}/disassociate", qos_specs.disassociate, WRITE),
    ("GET", f"{_Q}/disassociate_all", qos_specs.disassociate_all, WRITE),
    ("GET", "/os-quota-sets/{id}", quotas.show, READ),
    ("PUT", "/os-quota-sets/{id}", quotas.update, WRITE),
    ("DELETE", "/os-quota-sets/{id}", quotas.reset, WRITE),
    ("GET", "/os-quota-sets/{id}/defaults", quotas.show_defaults, READ),
    ("GET", "/os-quota-class-sets/{id}", quotas.show_class, READ),
    ("PUT", "/os-quota-class-sets/{id}", quotas.update_class, WRITE),
    ("GET", "/limits", quotas.show_limits, READ),
    ("GET", "/extensions", extensions.list_all, READ),
    ("GET", "/extensions/{alias}", extensions.show, READ),
    ("GET", "/messages", Since(3, messages.list_all), READ),
    ("GET", "/messages/{id}", Since(3, messages.show), READ),
    ("DELETE", "/messages/{id}", Since(3, messages.remove), WRITE),
)
