"""The Network v2.0 service: its routes, its error bodies, and what it makes in an empty cloud."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deuteron.api.call import MAX_BODY_BYTES, Call, Mode, Reply, Route
from deuteron.api.network import (
    agents,
    bodies,
    extensions,
    flavors,
    lists,
    pools,
    port_bindings,
    prefixes,
    quotas,
    rights,
    topologies,
    traces,
)
from deuteron.api.network.objects import Objects
from deuteron.api.network.readable import Sight
from deuteron.api.network.tags import Tags
from deuteron.model.caller import Caller
from deuteron.model.errors import ApiError, Forbidden
from deuteron.model.network.logs import LOGGABLE
from deuteron.model.network.rows import RouterRow, TrunkRow
from deuteron.model.settings import Settings
from deuteron.rules.network import (
    address_groups,
    attributes,
    faults,
    qos,
    routers,
    sight,
    trunks,
)
from deuteron.rules.network.registry import KINDS
from deuteron.store.database import Tx


class NetworkService:
    """Neutron's API below `/network`."""

    name = "network"
    prefix = "/network"
    max_body_bytes = MAX_BODY_BYTES
    exact_paths = False
    same_words = True

    def __init__(self) -> None:
        self._seen = Sight()
        self._traces = traces.Traces(self._seen)
        self._objects = {kind.name: Objects(kind, self._seen) for kind in KINDS}

    def routes(self) -> tuple[Route, ...]:
        found = [
            Route("GET", "/", self.versions, auth=False),
            Route("GET", "/v2.0", self.resources),
            Route("GET", "/v2.0/extensions", extensions.list_extensions),
            Route("GET", "/v2.0/extensions/{alias}", extensions.show_extension),
            Route("GET", "/v2.0/agents", agents.list_agents),
            Route("GET", "/v2.0/agents/{id}", agents.show_agent),
            Route("PUT", "/v2.0/agents/{id}", agents.update_agent, Mode.WRITE),
            Route("DELETE", "/v2.0/agents/{id}", agents.delete_agent, Mode.WRITE),
            Route("GET", "/v2.0/agents/{id}/dhcp-networks", agents.networks_of_agent),
            Route("GET", "/v2.0/agents/{id}/l3-routers", agents.routers_of_agent),
            Route("POST", "/v2.0/agents/{id}/dhcp-networks", agents.add_network, Mode.WRITE),
            Route("DELETE", "/v2.0/agents/{id}/dhcp-networks/{network}", agents.remove_network, Mode.WRITE),
            Route("POST", "/v2.0/agents/{id}/l3-routers", agents.add_router, Mode.WRITE),
            Route("DELETE", "/v2.0/agents/{id}/l3-routers/{router}", agents.remove_router, Mode.WRITE),
            Route("GET", "/v2.0/networks/{id}/dhcp-agents", agents.agents_of_network),
            Route("GET", "/v2.0/routers/{id}/l3-agents", agents.agents_of_router),
            Route("GET", "/v2.0/availability_zones", agents.list_zones),
            Route("GET", "/v2.0/service-providers", agents.list_providers),
            Route("GET", "/v2.0/floatingip_pools", pools.list_pools),
            Route("GET", "/v2.0/auto-allocated-topology/{project}", topologies.show, writes_if=topologies.lacks),
            Route("DELETE", "/v2.0/auto-allocated-topology/{project}", topologies.delete, Mode.WRITE),
            Route("POST", "/v2.0/flavors/{id}/service_profiles", flavors.associate, Mode.WRITE),
            Route("DELETE", "/v2.0/flavors/{id}/service_profiles/{profile}", flavors.dissociate, Mode.WRITE),
            Route("GET", "/v2.0/ports/{id}/bindings", port_bindings.list_all),
            Route("POST", "/v2.0/ports/{id}/bindings", port_bindings.create, Mode.WRITE),
            Route("GET", "/v2.0/ports/{id}/bindings/{host}", port_bindings.show),
            Route("DELETE", "/v2.0/ports/{id}/bindings/{host}", port_bindings.delete, Mode.WRITE),
            Route("PUT", "/v2.0/ports/{id}/bindings/{host}/activate", port_bindings.activate, Mode.WRITE),
            Route("GET", "/v2.0/network-ip-availabilities", agents.list_availability),
            Route("GET", "/v2.0/network-ip-availabilities/{id}", agents.show_availability),
            Route("GET", "/v2.0/qos/rule-types", self.rule_types),
            Route("GET", "/v2.0/qos/rule-types/{type}", self.rule_type),
            Route("GET", "/v2.0/log/loggable-resources", self.loggable_resources),
            Route("GET", "/v2.0/fabric", self._traces.fabric, Mode.ASYNC),
            Route("GET", "/v2.0/trace", self._traces.show, Mode.ASYNC, query=traces.QUERY),
            Route("GET", "/v2.0/quotas", quotas.list_all),
            Route("GET", "/v2.0/quotas/tenant", quotas.show_own),
            Route("GET", "/v2.0/quotas/project", quotas.show_own),
            Route("GET", "/v2.0/quotas/{project}", quotas.show),
            Route("GET", "/v2.0/quotas/{project}/default", quotas.show_default),
            Route("GET", "/v2.0/quotas/{project}/details", quotas.show_details),
            Route("GET", "/v2.0/quotas/{project}/details.json", quotas.show_details),
            Route("PUT", "/v2.0/quotas/{project}", quotas.update, Mode.WRITE),
            Route("DELETE", "/v2.0/quotas/{project}", quotas.reset, Mode.WRITE),
            Route("PUT", "/v2.0/routers/{id}/add_router_interface", self.add_router_interface, Mode.WRITE),
            Route("PUT", "/v2.0/routers/{id}/remove_router_interface", self.remove_router_interface, Mode.WRITE),
            Route("PUT", "/v2.0/routers/{id}/add_extraroutes", self.add_extraroutes, Mode.WRITE),
            Route("PUT", "/v2.0/routers/{id}/remove_extraroutes", self.remove_extraroutes, Mode.WRITE),
            Route("PUT", "/v2.0/subnetpools/{id}/add_prefixes", prefixes.add_prefixes, Mode.WRITE),
            Route("PUT", "/v2.0/subnetpools/{id}/remove_prefixes", prefixes.remove_prefixes, Mode.WRITE),
            Route(
                "PUT", "/v2.0/subnetpools/{id}/onboard_network_subnets", prefixes.onboard_network_subnets, Mode.WRITE
            ),
            Route("PUT", "/v2.0/address-groups/{id}/add_addresses", self.add_addresses, Mode.WRITE),
            Route("PUT", "/v2.0/address-groups/{id}/remove_addresses", self.remove_addresses, Mode.WRITE),
            Route("PUT", "/v2.0/trunks/{id}/add_subports", self.add_subports, Mode.WRITE),
            Route("PUT", "/v2.0/trunks/{id}/remove_subports", self.remove_subports, Mode.WRITE),
            Route("GET", "/v2.0/trunks/{id}/get_subports", self.get_subports),
        ]
        for kind in KINDS:
            found.extend(self._objects[kind.name].routes())
            if "tags" in kind.resource.by_name:
                found.extend(Tags(kind).routes())
        return tuple(found)

    def error(self, call: Call | None, error: ApiError) -> Reply:
        """Neutron's body; a missing or bad token is answered in Keystone's, as its middleware does."""
        if error.status == 401:
            endpoint = call.settings.endpoint if call is not None else ""
            return Reply(
                401,
                {"error": {"code": 401, "title": "Unauthorized", "message": error.message}},
                headers={"WWW-Authenticate": f'Keystone uri="{endpoint}/identity"'},
            )
        inner: dict[str, Any] = {"type": error.type, "message": error.message, "detail": ""}
        headers: dict[str, str] = {}
        if error.status == 405:
            headers["Allow"] = error.detail
            inner["message"] = (
                "The server could not comply with the request since it is either malformed or otherwise incorrect."
            )
        if error.hint:
            inner["hint"] = error.hint
        return Reply(error.status, {"NeutronError": inner}, headers=headers)

    def prepare(self, call: Call) -> None:
        """The API has no microversions; `.json` at the end of a path means nothing."""

    # --- handlers -------------------------------------------------------------------------------------------------

    def versions(self, call: Call, tx: Tx) -> Reply:
        """GET /: no token asked for."""
        link = {"rel": "self", "href": f"{call.base_url}/network/v2.0/"}
        return Reply(200, {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]})

    def resources(self, call: Call, tx: Tx) -> Reply:
        """GET /v2.0: the core resources."""
        base = f"{call.base_url}/network/v2.0"
        return Reply(
            200,
            {
                "resources": [
                    {"name": name, "collection": f"{name}s", "links": [{"rel": "self", "href": f"{base}/{name}s"}]}
                    for name in ("network", "subnet", "subnetpool", "port")
                ]
            },
        )

    def rule_types(self, call: Call, tx: Tx) -> Reply:
        """GET /qos/rule-types: the rules that every port of the cloud obeys; there are no others to ask for."""
        wrong = sorted({name for name, _ in call.query} - {"fields", "all_rules", "all_supported"})
        if wrong:
            raise faults.http_bad_request(f"{wrong} is invalid attribute for filtering")
        if not call.policy.check(call.caller, "get_rule_type"):
            return Reply(200, {"rule_types": []})
        return Reply(200, {"rule_types": [lists.fields(call, {"type": name}) for name in qos.RULE_TYPES]})

    def rule_type(self, call: Call, tx: Tx) -> Reply:
        """GET /qos/rule-types/{type}: for administrators, whatever the policy says, as in Neutron's plugin."""
        if not call.policy.check(call.caller, "get_rule_type") or not call.caller.is_admin:
            raise Forbidden("Not authorized.", type="NotAuthorized")
        return Reply(200, {"rule_type": qos.rule_type(call.params["type"])})

    def loggable_resources(self, call: Call, tx: Tx) -> Reply:
        """GET /log/loggable-resources: security groups."""
        own = {"project_id": call.caller.project_id}
        is_told = call.policy.check(call.caller, "get_loggable_resource", own)
        return lists.answer(call, lists.LOGGABLE, [{"type": name} for name in LOGGABLE] if is_told else [])

    def add_router_interface(self, call: Call, tx: Tx) -> Reply:
        row = self._router(call, tx, "add_router_interface")
        return Reply(200, routers.add_interface(tx, call.settings, call.caller, row, _action_body(call)))

    def remove_router_interface(self, call: Call, tx: Tx) -> Reply:
        row = self._router(call, tx, "remove_router_interface")
        return Reply(200, routers.remove_interface(tx, call.settings, call.caller, row, _action_body(call)))

    def add_extraroutes(self, call: Call, tx: Tx) -> Reply:
        return self._change_routes(call, tx, adding=True)

    def remove_extraroutes(self, call: Call, tx: Tx) -> Reply:
        return self._change_routes(call, tx, adding=False)

    def _change_routes(self, call: Call, tx: Tx, *, adding: bool) -> Reply:
        row = self._router(call, tx, "add_extraroutes" if adding else "remove_extraroutes")
        body = bodies.one(call, "router")
        attributes.refuse_others(body, ("routes",))
        routes = body.get("routes")
        row = routers.change_routes(tx, call.settings, call.caller, row, routes, adding=adding)
        return Reply(200, {"router": self._objects["router"].shown(call, tx, row)})

    def add_addresses(self, call: Call, tx: Tx) -> Reply:
        return self._change_addresses(call, tx, adding=True)

    def remove_addresses(self, call: Call, tx: Tx) -> Reply:
        return self._change_addresses(call, tx, adding=False)

    def _change_addresses(self, call: Call, tx: Tx, *, adding: bool) -> Reply:
        row = sight.find_visible(tx, call.caller, address_groups.KIND, call.params["id"])
        rule = "add_addresses" if adding else "remove_addresses"
        rights.require(call, rule, sight.row_target(row))
        body = bodies.parse(call, "addresses")
        attributes.refuse_others(body, ("addresses",))
        if "addresses" not in body:
            raise faults.http_bad_request("Unable to find 'addresses' in request body")
        row = address_groups.change_addresses(tx, row, body["addresses"], adding=adding)
        return Reply(200, {"address_group": self._objects["address_group"].shown(call, tx, row)})

    def add_subports(self, call: Call, tx: Tx) -> Reply:
        return self._change_subports(call, tx, "add_subports", trunks.add_subports)

    def remove_subports(self, call: Call, tx: Tx) -> Reply:
        return self._change_subports(call, tx, "remove_subports", trunks.remove_subports)

    def get_subports(self, call: Call, tx: Tx) -> Reply:
        return Reply(200, {"sub_ports": self._trunk(call, tx, "get_subports")["sub_ports"]})

    def _change_subports(
        self, call: Call, tx: Tx, rule: str, act: Callable[[Tx, Settings, Caller, TrunkRow, object], TrunkRow]
    ) -> Reply:
        row = self._trunk(call, tx, rule)
        body = bodies.parse(call, "sub_ports")
        attributes.refuse_others(body, ("sub_ports",))
        if "sub_ports" not in body:
            raise faults.http_bad_request("Unable to find 'sub_ports' in request body")
        row = act(tx, call.settings, call.caller, row, body["sub_ports"])
        # As Neutron answers: the trunk as it is, and not under its name.
        return Reply(200, self._objects["trunk"].shown(call, tx, row))

    def _trunk(self, call: Call, tx: Tx, rule: str) -> TrunkRow:
        row = sight.find_visible(tx, call.caller, trunks.KIND, call.params["id"])
        rights.require(call, rule, sight.row_target(row))
        return row

    def _router(self, call: Call, tx: Tx, rule: str) -> RouterRow:
        row = sight.find_visible(tx, call.caller, routers.KIND, call.params["id"])
        rights.require(call, rule, sight.row_target(row))
        return row


def _action_body(call: Call) -> dict[str, Any]:
    return bodies.parse(call, "router") if call.raw else {}
