"""The Identity v3 service: its routes, and Keystone's shape of errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from deuteron.api.call import PASTE_MAX_BODY_BYTES, Call, Mode, Reply, Route
from deuteron.api.identity import (
    application_credentials,
    assignments,
    auth,
    credentials,
    domain_configs,
    ec2,
    endpoint_filters,
    endpoints,
    grants,
    groups,
    limits,
    projects,
    roles,
    trusts,
    users,
)
from deuteron.api.identity.bodies import root
from deuteron.model.errors import ApiError, BadRequest, NotFound
from deuteron.rules.identity.passwords import Workers

_UPDATED = "2022-10-04T00:00:00Z"
"""Of version 3.14, the one whose calls are here."""


class IdentityService:
    """Keystone's dialect at `/identity`. Owns the threads that hash passwords."""

    name = "identity"
    prefix = "/identity"
    max_body_bytes = PASTE_MAX_BODY_BYTES
    exact_paths = False
    same_words = False

    def __init__(self, workers: Workers | None = None) -> None:
        self._workers = workers or Workers()

    def routes(self) -> tuple[Route, ...]:
        write = Mode.WRITE
        result = [
            Route("GET", "/", _versions, auth=False),
            Route("GET", "/v3", _version, auth=False),
            Route("POST", "/v3/auth/tokens", self._with_workers(auth.create_token), Mode.ASYNC, auth=False),
            Route("GET", "/v3/auth/tokens", auth.check_token),
            Route("DELETE", "/v3/auth/tokens", auth.revoke_token, write),
            Route("GET", "/v3/auth/catalog", auth.show_catalog),
            Route("GET", "/v3/auth/projects", auth.list_projects),
            Route("GET", "/v3/auth/domains", auth.list_domains),
            Route("GET", "/v3/auth/system", auth.list_system),
            Route("GET", "/v3/OS-FEDERATION/projects", auth.list_projects),
            Route("GET", "/v3/OS-FEDERATION/domains", auth.list_domains),
            *_crud(
                "/v3/domains",
                projects.list_domains,
                projects.create_domain,
                projects.show_domain,
                projects.update_domain,
                projects.delete_domain,
            ),
            *_crud(
                "/v3/projects",
                projects.list_projects,
                projects.create_project,
                projects.show_project,
                projects.update_project,
                projects.delete_project,
            ),
            Route("GET", "/v3/projects/{id}/tags", projects.list_tags),
            Route("PUT", "/v3/projects/{id}/tags", projects.replace_tags, write),
            Route("DELETE", "/v3/projects/{id}/tags", projects.remove_tags, write),
            Route("GET", "/v3/projects/{id}/tags/{tag}", projects.show_tag),
            Route("PUT", "/v3/projects/{id}/tags/{tag}", projects.add_tag, write),
            Route("DELETE", "/v3/projects/{id}/tags/{tag}", projects.remove_tag, write),
            Route("GET", "/v3/users", users.list_users),
            Route("POST", "/v3/users", self._with_workers(users.create_user), Mode.ASYNC),
            Route("GET", "/v3/users/{id}", users.show_user),
            Route("PATCH", "/v3/users/{id}", self._with_workers(users.update_user), Mode.ASYNC),
            Route("DELETE", "/v3/users/{id}", users.delete_user, write),
            Route("POST", "/v3/users/{id}/password", self._with_workers(users.change_password), Mode.ASYNC, auth=False),
            Route("GET", "/v3/users/{id}/projects", projects.list_projects_of_user),
            Route("GET", "/v3/users/{id}/groups", groups.list_groups_of_user),
            *_crud(
                "/v3/groups",
                groups.list_groups,
                groups.create_group,
                groups.show_group,
                groups.update_group,
                groups.delete_group,
            ),
            Route("GET", "/v3/groups/{id}/users", groups.list_members),
            Route("PUT", "/v3/groups/{id}/users/{user_id}", groups.add_member, write),
            Route("GET", "/v3/groups/{id}/users/{user_id}", groups.check_member),
            Route("DELETE", "/v3/groups/{id}/users/{user_id}", groups.remove_member, write),
            *_crud(
                "/v3/roles", roles.list_roles, roles.create_role, roles.show_role, roles.update_role, roles.delete_role
            ),
            Route("GET", "/v3/roles/{id}/implies", roles.list_implied),
            Route("GET", "/v3/roles/{id}/implies/{implied_id}", roles.show_implied),
            Route("PUT", "/v3/roles/{id}/implies/{implied_id}", roles.put_implied, write),
            Route("DELETE", "/v3/roles/{id}/implies/{implied_id}", roles.delete_implied, write),
            Route("GET", "/v3/role_inferences", roles.list_inferences),
            Route("GET", "/v3/role_assignments", assignments.list_assignments),
            *_crud(
                "/v3/services",
                endpoints.list_services,
                endpoints.create_service,
                endpoints.show_service,
                endpoints.update_service,
                endpoints.delete_service,
            ),
            *_crud(
                "/v3/endpoints",
                endpoints.list_endpoints,
                endpoints.create_endpoint,
                endpoints.show_endpoint,
                endpoints.update_endpoint,
                endpoints.delete_endpoint,
            ),
            *_crud(
                "/v3/regions",
                endpoints.list_regions,
                endpoints.create_region,
                endpoints.show_region,
                endpoints.update_region,
                endpoints.delete_region,
            ),
            Route("PUT", "/v3/regions/{id}", endpoints.create_region, write),
            *_crud(
                "/v3/registered_limits",
                limits.list_registered,
                limits.create_registered,
                limits.show_registered,
                limits.update_registered,
                limits.delete_registered,
            ),
            *_crud(
                "/v3/limits",
                limits.list_limits,
                limits.create_limits,
                limits.show_limit,
                limits.update_limit,
                limits.delete_limit,
            ),
            Route("GET", "/v3/limits/model", limits.show_model),
            Route("POST", "/v3/ec2tokens", ec2.ec2_token),
            Route("POST", "/v3/s3tokens", ec2.s3_token),
            Route("GET", "/v3/users/{user_id}/credentials/OS-EC2", ec2.list_credentials),
            Route("POST", "/v3/users/{user_id}/credentials/OS-EC2", ec2.create_credential, write),
            Route("GET", "/v3/users/{user_id}/credentials/OS-EC2/{access}", ec2.show_credential),
            Route("DELETE", "/v3/users/{user_id}/credentials/OS-EC2/{access}", ec2.delete_credential, write),
            Route("GET", "/v3/OS-TRUST/trusts", trusts.list_trusts),
            Route("POST", "/v3/OS-TRUST/trusts", trusts.create_trust, write),
            Route("GET", "/v3/OS-TRUST/trusts/{id}", trusts.show_trust),
            Route("DELETE", "/v3/OS-TRUST/trusts/{id}", trusts.delete_trust, write),
            Route("GET", "/v3/OS-TRUST/trusts/{id}/roles", trusts.list_roles),
            Route("GET", "/v3/OS-TRUST/trusts/{id}/roles/{role_id}", trusts.show_role),
            *_crud(
                "/v3/credentials",
                credentials.list_credentials,
                credentials.create_credential,
                credentials.show_credential,
                credentials.update_credential,
                credentials.delete_credential,
            ),
        ]
        for actor in ("users", "groups"):
            for target, tail in (
                ("projects/{target_id}", ""),
                ("domains/{target_id}", ""),
                ("system", ""),
                ("OS-INHERIT/projects/{target_id}", "/inherited_to_projects"),
                ("OS-INHERIT/domains/{target_id}", "/inherited_to_projects"),
            ):
                path = f"/v3/{target}/{actor}/{{actor_id}}/roles"
                one = f"{path}/{{role_id}}{tail}"
                result += [
                    Route("GET", path + tail, grants.list_grants),
                    Route("PUT", one, grants.put_grant, write),
                    Route("GET", one, grants.check_grant),
                    Route("DELETE", one, grants.delete_grant, write),
                ]
        filters, of_group = "/v3/OS-EP-FILTER", "/v3/OS-EP-FILTER/endpoint_groups/{id}"
        one = f"{filters}/projects/{{project_id}}/endpoints/{{endpoint_id}}"
        result += [
            *_crud(
                f"{filters}/endpoint_groups",
                endpoint_filters.list_groups,
                endpoint_filters.create_group,
                endpoint_filters.show_group,
                endpoint_filters.update_group,
                endpoint_filters.delete_group,
            ),
            Route("GET", f"{of_group}/endpoints", endpoint_filters.list_endpoints_of_group),
            Route("GET", f"{of_group}/projects", endpoint_filters.list_projects_of_group),
            Route("GET", f"{of_group}/projects/{{project_id}}", endpoint_filters.show_group_of_project),
            Route("PUT", f"{of_group}/projects/{{project_id}}", endpoint_filters.add_group, write),
            Route("DELETE", f"{of_group}/projects/{{project_id}}", endpoint_filters.remove_group, write),
            Route("GET", f"{filters}/projects/{{project_id}}/endpoint_groups", endpoint_filters.list_groups_of_project),
            Route("GET", f"{filters}/projects/{{project_id}}/endpoints", endpoint_filters.list_endpoints_of_project),
            Route("GET", f"{filters}/endpoints/{{endpoint_id}}/projects", endpoint_filters.list_projects_of_endpoint),
            Route("GET", one, endpoint_filters.check_endpoint),
            Route("PUT", one, endpoint_filters.add_endpoint, write),
            Route("DELETE", one, endpoint_filters.remove_endpoint, write),
        ]
        config = "/v3/domains/{id}/config"
        result.append(Route("PUT", config, domain_configs.create_config, write))
        for path in (config, f"{config}/{{group}}", f"{config}/{{group}}/{{option}}"):
            result += [
                Route("GET", path, domain_configs.show_config),
                Route("PATCH", path, domain_configs.update_config, write),
                Route("DELETE", path, domain_configs.delete_config, write),
            ]
        for path in ("", "/{group}", "/{group}/{option}"):
            result.append(Route("GET", f"/v3/domains/config{path}/default", domain_configs.show_default))
        mine = "/v3/users/{user_id}/application_credentials"
        result += [
            Route("GET", mine, application_credentials.list_credentials),
            Route("POST", mine, self._with_workers(application_credentials.create_credential), Mode.ASYNC),
            Route("GET", mine + "/{id}", application_credentials.show_credential),
            Route("DELETE", mine + "/{id}", application_credentials.delete_credential, write),
            Route("GET", "/v3/users/{user_id}/access_rules", application_credentials.list_access_rules),
            Route("GET", "/v3/users/{user_id}/access_rules/{id}", application_credentials.show_access_rule),
            Route("DELETE", "/v3/users/{user_id}/access_rules/{id}", application_credentials.delete_access_rule, write),
        ]
        return tuple(result)

    def prepare(self, call: Call) -> None:
        """Raises: BadRequest for a body that is not said to be JSON, as Keystone's JsonBodyMiddleware does."""
        call.extra_headers["vary"] = "X-Auth-Token"
        media_type = call.headers.get("content-type", "").partition(";")[0].strip().lower()
        has_body = call.headers.get("content-length", "0") != "0" or "transfer-encoding" in call.headers
        if has_body and media_type not in ("", "application/json"):
            raise BadRequest("Expecting to find application/json in Content-Type header.", type="ValidationError")

    def error(self, call: Call | None, error: ApiError) -> Reply:
        title = HTTPStatus(error.status).phrase
        message = error.message
        if isinstance(error, NotFound) and error.type == "HTTPNotFound":
            message = "The resource could not be found."
        body: dict[str, Any] = {"error": {"code": error.status, "message": message, "title": title}}
        headers: dict[str, str] = {}
        if error.status == 401 and call is not None:
            headers["WWW-Authenticate"] = f'Keystone uri="{root(call)}"'
        if error.status == 405:
            headers["Allow"] = error.detail
        return Reply(error.status, body, headers)

    def _with_workers(self, handler: Callable[[Call, Workers], Awaitable[Reply]]) -> Callable[[Call], Awaitable[Reply]]:
        """The handler with the threads that it hashes in."""

        async def run(call: Call) -> Reply:
            return await handler(call, self._workers)

        return run


Handler = Callable[[Call, Any], Reply]


def _crud(path: str, all: Handler, create: Handler, show: Handler, change: Handler, remove: Handler) -> list[Route]:
    """The five routes of a collection."""
    one = path + "/{id}"
    return [
        Route("GET", path, all),
        Route("POST", path, create, Mode.WRITE),
        Route("GET", one, show),
        Route("PATCH", one, change, Mode.WRITE),
        Route("DELETE", one, remove, Mode.WRITE),
    ]


def _versions(call: Call, tx: Any) -> Reply:
    return Reply(300, {"versions": {"values": [_document(call)]}}, {"Location": f"{root(call)}/v3/"})


def _version(call: Call, tx: Any) -> Reply:
    return Reply(200, {"version": _document(call)})


def _document(call: Call) -> dict[str, Any]:
    return {
        "id": "v3.14",
        "status": "stable",
        "updated": _UPDATED,
        "links": [{"rel": "self", "href": f"{root(call)}/v3/"}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    }
