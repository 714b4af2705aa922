"""Every persona asks every route of every service, about its own project's and domain's things and about another's.

A route without a line in `TABLE` fails. A line names the rule that the real service asks for the route; who is let
through comes from the real service's defaults (`defaults.json`, and `DEVIATIONS` in test_rules).

All requests are made on the same objects: whatever one writes is undone at the end of its transaction (`Undone`).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from sqlalchemy import update

from deuteron.api import compute, identity, image, network, placement, volume
from deuteron.api.app import App
from deuteron.api.main import build
from deuteron.api.parts import Parts
from deuteron.model.caller import Caller
from deuteron.model.intent import Hello
from deuteron.model.settings import HostEntry, ImageOptions, ImageStore, Operator, Settings
from deuteron.model.volume import VOLUME
from deuteron.rules.compute import block_devices, migrations
from deuteron.rules.hosts import registry
from deuteron.rules.volume import attachments, kinds, messages
from deuteron.store import volume_tables
from deuteron.store.compute_tables import servers
from deuteron.store.database import Database, Tx
from deuteron.store.network_tables import port_bindings, ports
from tests.unit.api_hosts.agent import backend
from tests.unit.personas import people
from tests.unit.personas.test_rules import differences, known, our_answers, real_answers

T = TypeVar("T")
SERVICES = {
    each.name: each
    for each in (
        identity.SERVICE(),
        network.SERVICE(),
        image.SERVICE(),
        volume.SERVICE(),
        compute.SERVICE(),
        placement.SERVICE(),
    )
}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJAiYwIbGvWbQmRFDqSRHOxQ4Tc0mnWmLqbQmW8kNkqL x@y"


IN_PROJECT = tuple(persona.name for persona in people.PERSONAS if persona.scope == "project" and persona.role)


@dataclass(frozen=True)
class Line:
    """`rule` None: every token will do. With `lists`, to be let through is to see the object of that name in a list."""

    rule: str | None
    body: Any = None
    lists: str | None = None
    others: bool = True
    """Whether the route can be about another's object."""
    headers: dict[str, str] = field(default_factory=dict)
    query: str = ""
    refused: tuple[int, ...] = (403, 404)
    also: tuple[str, ...] = ()
    """Who needs no rule for what is its own."""


def _table() -> Iterator[tuple[str, Line]]:
    yield from _identity()
    yield from _network()
    yield from _image()
    yield from _volume()
    yield from _compute()
    yield from _placement()


def _identity() -> Iterator[tuple[str, Line]]:
    v3 = "/identity/v3"
    subject = {"x-subject-token": "{token}"}
    yield f"GET {v3}/auth/tokens", Line("validate_token", headers=subject)
    yield f"DELETE {v3}/auth/tokens", Line("revoke_token", headers=subject)
    for name in ("auth/catalog", "auth/projects", "auth/domains", "auth/system", "OS-FEDERATION/projects",
                 "OS-FEDERATION/domains"):  # fmt: skip
        yield f"GET {v3}/{name}", Line(None)
    bodies: dict[str, tuple[str, dict[str, Any]]] = {
        "domains": ("domain", {"name": "new"}),
        "projects": ("project", {"name": "new", "domain_id": "{domain}"}),
        "users": ("user", {"name": "new", "domain_id": "{domain}", "password": "x"}),
        "groups": ("group", {"name": "new", "domain_id": "{domain}"}),
        "roles": ("role", {"name": "new"}),
        "services": ("service", {"name": "new", "type": "new"}),
        "endpoints": ("endpoint", {"service_id": "{service}", "interface": "public", "url": "http://h"}),
        "regions": ("region", {"id": "new"}),
        "credentials": ("credential", {"type": "cert", "blob": "x", "user_id": "{user}"}),
    }
    for collection, (kind, made) in bodies.items():
        base = f"{v3}/{collection}"
        get = "get_credential" if kind == "credential" else f"list_{collection}"
        yield f"GET {base}", Line(get, lists=kind)
        yield f"POST {base}", Line(f"create_{kind}", {kind: made})
        yield f"GET {base}/{{{'member' if kind == 'role' else kind}}}", Line(f"get_{kind}")
        yield f"PATCH {base}/{{{kind}}}", Line(f"update_{kind}", {kind: {"description": "new"}})
        yield f"DELETE {base}/{{{'closed_domain' if kind == 'domain' else kind}}}", Line(f"delete_{kind}")
    config, options = f"{v3}/domains/{{domain}}/config", {"identity": {"driver": "sql"}}
    yield f"PUT {config}", Line("create_domain_config", {"config": options})
    for path, body in (
        ("", options),
        ("/{option_group}", options),
        ("/{option_group}/{option}", {"driver": "sql"}),
    ):
        yield f"GET {config}{path}", Line("get_domain_config")
        yield f"PATCH {config}{path}", Line("update_domain_config", {"config": body})
        yield f"DELETE {config}{path}", Line("delete_domain_config")
        yield f"GET {v3}/domains/config{path}/default", Line("get_domain_config_default", others=False)
    yield f"PUT {v3}/regions/{{region}}", Line("create_region", {"region": {}})
    tags = f"{v3}/projects/{{project}}/tags"
    yield f"GET {tags}", Line("list_project_tags")
    yield f"PUT {tags}", Line("update_project_tags", {"tags": ["t"]})
    yield f"DELETE {tags}", Line("delete_project_tags")
    yield f"GET {tags}/{{tag}}", Line("get_project_tag")
    yield f"PUT {tags}/{{tag}}", Line("create_project_tag")
    yield f"DELETE {tags}/{{tag}}", Line("delete_project_tag")
    user = f"{v3}/users/{{user}}"
    yield f"GET {user}/projects", Line("list_user_projects")
    yield f"GET {user}/groups", Line("list_groups_for_user")
    yield f"GET {user}/access_rules", Line("list_access_rules")
    for method, verb in (("GET", "get"), ("DELETE", "delete")):
        yield f"{method} {user}/access_rules/{{access_rule}}", Line(f"{verb}_access_rule")
    own = f"{user}/application_credentials"
    yield f"GET {own}", Line("list_application_credentials")
    yield f"POST {own}", Line("create_application_credential", {"application_credential": {"name": "new"}})
    yield f"GET {own}/{{application_credential}}", Line("get_application_credential")
    yield f"DELETE {own}/{{application_credential}}", Line("delete_application_credential")
    registered = {"service_id": "{service}", "resource_name": "new", "default_limit": 1}
    told = {"service_id": "{service}", "resource_name": "thing", "resource_limit": 1, "domain_id": "{domain}"}
    filters = f"{v3}/OS-EP-FILTER"
    group, chosen = f"{filters}/endpoint_groups", f"{filters}/projects/{{project}}/endpoints/{{endpoint}}"
    yield f"GET {group}", Line("list_endpoint_groups")
    made = {"endpoint_group": {"name": "new", "filters": {"interface": "public"}}}
    yield f"POST {group}", Line("create_endpoint_group", made)
    group += "/{endpoint_group}"
    of_project = f"{group}/projects/{{project}}"
    yield f"GET {group}", Line("get_endpoint_group")
    yield f"PATCH {group}", Line("update_endpoint_group", {"endpoint_group": {"name": "new"}})
    yield f"DELETE {group}", Line("delete_endpoint_group")
    yield f"GET {group}/projects", Line("list_projects_associated_with_endpoint_group")
    yield f"GET {group}/endpoints", Line("list_endpoints_associated_with_endpoint_group")
    # Both are there already: who may make one is told so.
    yield f"GET {of_project}", Line("get_endpoint_group_in_project")
    yield f"PUT {of_project}", Line("add_endpoint_group_to_project")
    yield f"DELETE {of_project}", Line("remove_endpoint_group_from_project")
    yield f"GET {filters}/projects/{{project}}/endpoint_groups", Line("list_endpoint_groups_for_project")
    yield f"GET {filters}/projects/{{project}}/endpoints", Line("list_endpoints_for_project")
    yield f"GET {filters}/endpoints/{{endpoint}}/projects", Line("list_projects_for_endpoint")
    yield f"GET {chosen}", Line("check_endpoint_in_project")
    yield f"PUT {chosen}", Line("add_endpoint_to_project")
    yield f"DELETE {chosen}", Line("remove_endpoint_from_project")
    for kind, made, change in (("registered_limit", registered, "default_limit"), ("limit", told, "resource_limit")):
        base, key = f"{v3}/{kind}s", "unused_limit" if kind == "registered_limit" else kind
        lists = "limit" if kind == "limit" else None
        # A service lists all of them, and is shown none: others are not looked at.
        yield f"GET {base}", Line("get_limit" if lists else f"list_{kind}s", lists=lists, others=not lists)
        yield f"POST {base}", Line(f"create_{kind}s", {f"{kind}s": [made]})
        yield f"GET {base}/{{{key}}}", Line(f"get_{kind}")
        yield f"PATCH {base}/{{{key}}}", Line(f"update_{kind}", {kind: {change: 2}})
        yield f"DELETE {base}/{{{key}}}", Line(f"delete_{kind}")
    yield f"GET {v3}/limits/model", Line("get_limit_model")
    keys = f"{user}/credentials/OS-EC2"
    yield f"GET {keys}", Line("ec2_list_credentials")
    yield f"POST {keys}", Line("ec2_create_credential", {"tenant_id": "{project}"})
    yield f"GET {keys}/{{ec2_key}}", Line("ec2_get_credential")
    yield f"DELETE {keys}/{{ec2_key}}", Line("ec2_delete_credential")
    for name in ("ec2tokens", "s3tokens"):
        # That nothing has the key, who may ask is told.
        yield f"POST {v3}/{name}", Line(f"{name}_validate", {"credentials": {"access": "none"}}, refused=(403,))
    trusts = f"{v3}/OS-TRUST/trusts"
    given = {"trustor_user_id": "{user}", "trustee_user_id": "{user}", "project_id": "{project}"}
    yield f"GET {trusts}", Line("list_trusts")
    yield f"POST {trusts}", Line("create_trust", {"trust": {**given, "impersonation": True, "roles": []}})
    yield f"GET {trusts}/{{trust}}", Line("get_trust")
    yield f"DELETE {trusts}/{{trust}}", Line("delete_trust")
    yield f"GET {trusts}/{{trust}}/roles", Line("list_roles_for_trust")
    yield f"GET {trusts}/{{trust}}/roles/{{member}}", Line("get_role_for_trust")
    members = f"{v3}/groups/{{group}}/users"
    yield f"GET {members}", Line("list_users_in_group")
    yield f"PUT {members}/{{user}}", Line("add_user_to_group")
    yield f"GET {members}/{{user}}", Line("check_user_in_group")
    yield f"DELETE {members}/{{user}}", Line("remove_user_from_group")
    implies = f"{v3}/roles/{{prior}}/implies"
    yield f"GET {implies}", Line("list_implied_roles")
    yield f"GET {implies}/{{role}}", Line("get_implied_role")
    yield f"PUT {implies}/{{role}}", Line("create_implied_role")
    yield f"DELETE {implies}/{{role}}", Line("delete_implied_role")
    yield f"GET {v3}/role_inferences", Line("list_role_inference_rules")
    yield f"GET {v3}/role_assignments", Line("list_role_assignments", lists="user")
    for actor in ("user", "group"):
        for place, tail in (("projects/{project}", ""), ("domains/{domain}", ""), ("system", ""),
                            ("OS-INHERIT/projects/{project}", "/inherited_to_projects"),
                            ("OS-INHERIT/domains/{domain}", "/inherited_to_projects")):  # fmt: skip
            base = f"{v3}/{place}/{actor}s/{{{actor}}}/roles"
            of_system = f"_for_{actor}" if place == "system" else ""
            kind = "system_grant" if of_system else "grant"
            yield f"GET {base}{tail}", Line(f"list_{kind}s{of_system}")
            for method, verb in (("PUT", "create"), ("GET", "check"), ("DELETE", "revoke")):
                yield f"{method} {base}/{{member}}{tail}", Line(f"{verb}_{kind}{of_system}")


def _network() -> Iterator[tuple[str, Line]]:
    v2 = "/network/v2.0"
    bodies: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
        "networks": ("network", {"project_id": "{project}"}, {"name": "new"}),
        "subnets": ("subnet", {"network_id": "{network}", "ip_version": 4, "cidr": "10.99.0.0/24",
                               "project_id": "{project}"}, {"name": "new"}),
        "ports": ("port", {"network_id": "{network}", "project_id": "{project}"}, {"name": "new"}),
        "routers": ("router", {"project_id": "{project}"}, {"name": "new"}),
        "floatingips": ("floatingip", {"floating_network_id": "{public}", "project_id": "{project}"},
                        {"description": "new"}),
        "security-groups": ("security_group", {"name": "new", "project_id": "{project}"}, {"name": "new"}),
        "security-group-rules": ("security_group_rule", {"security_group_id": "{security_group}",
                                 "direction": "egress", "protocol": "tcp", "project_id": "{project}"}, {}),
        "subnetpools": ("subnetpool", {"name": "new", "prefixes": ["10.98.0.0/16"], "project_id": "{project}"},
                        {"name": "new"}),
        "address-scopes": ("address_scope", {"name": "new", "ip_version": 6, "project_id": "{project}"},
                           {"name": "new"}),
        "address-groups": ("address_group", {"name": "new", "addresses": ["10.0.0.0/8"], "project_id": "{project}"},
                           {"name": "new"}),
        "trunks": ("trunk", {"port_id": "{free_port}", "project_id": "{project}"}, {"name": "new"}),
        "rbac-policies": ("rbac_policy", {"object_type": "network", "object_id": "{network}",
                          "action": "access_as_shared", "target_tenant": "9" * 32, "project_id": "{project}"},
                          {"target_tenant": "8" * 32}),
    }  # fmt: skip
    for collection, (kind, made, changed) in bodies.items():
        base, one = f"{v2}/{collection}", f"{v2}/{collection}/{{{kind}}}"
        yield f"GET {base}", Line(f"get_{kind}", lists=kind)
        # Who may not name a project is told so, before anybody asks for its rights.
        yield f"POST {base}", Line(f"create_{kind}", {kind: made}, refused=(400, 403, 404))
        yield f"GET {one}", Line(f"get_{kind}")
        if changed:
            yield f"PUT {one}", Line(f"update_{kind}", {kind: changed})
        yield f"DELETE {one}", Line(f"delete_{kind}")
        if kind not in ("address_scope", "address_group", "rbac_policy"):
            # A rule of a group is changed by who may delete it: it has no rule of changing.
            yield from _tags(one, kind, None if changed else f"delete_{kind}")
    for verb in ("add", "remove"):
        one = f"{v2}/address-groups/{{address_group}}/{verb}_addresses"
        yield f"PUT {one}", Line(f"{verb}_addresses", {"addresses": []})
    pool = f"{v2}/subnetpools/{{subnetpool}}"
    for verb in ("add", "remove"):
        yield f"PUT {pool}/{verb}_prefixes", Line(f"{verb}_prefixes", {"prefixes": ["10.2.0.0/17"]})
    yield f"PUT {pool}/onboard_network_subnets", Line("onboard_network_subnets", {"network_id": "{network}"})
    for verb in ("add", "remove"):
        yield f"PUT {v2}/trunks/{{trunk}}/{verb}_subports", Line(f"{verb}_subports", {"sub_ports": []})
    yield f"GET {v2}/trunks/{{trunk}}/get_subports", Line("get_subports")
    one, made = f"{v2}/segments/{{segment}}", {"network_id": "{network}", "network_type": "vxlan"}
    yield f"GET {v2}/segments", Line("get_segment", lists="segment")
    yield f"POST {v2}/segments", Line("create_segment", {"segment": made}, refused=(400, 403, 404))
    yield f"GET {one}", Line("get_segment")
    yield f"PUT {one}", Line("update_segment", {"segment": {"name": "new"}})
    yield f"DELETE {one}", Line("delete_segment")
    policy = f"{v2}/qos/policies/{{qos_policy}}"
    yield f"GET {v2}/qos/policies", Line("get_policy", lists="qos_policy")
    made = {"policy": {"name": "new", "project_id": "{project}"}}
    yield f"POST {v2}/qos/policies", Line("create_policy", made, refused=(400, 403, 404))
    yield f"GET {policy}", Line("get_policy")
    yield f"PUT {policy}", Line("update_policy", {"policy": {"name": "new"}})
    yield f"DELETE {policy}", Line("delete_policy")
    yield from _tags(f"{v2}/policies/{{qos_policy}}", "policy")
    for kind, made in (
        ("bandwidth_limit_rule", {"max_kbps": 9, "direction": "ingress"}), ("dscp_marking_rule", {"dscp_mark": 10}),
        ("packet_rate_limit_rule", {"max_kpps": 9, "direction": "ingress"}),
        ("minimum_bandwidth_rule", {"min_kbps": 9, "direction": "ingress"}),
        ("minimum_packet_rate_rule", {"min_kpps": 9, "direction": "ingress"}),
    ):  # fmt: skip
        base, name = f"{policy}/{kind}s", f"policy_{kind}"
        yield f"GET {base}", Line(f"get_{name}", lists=kind)
        # A mark is there already: who may make one is told so.
        yield f"POST {base}", Line(f"create_{name}", {kind: made})
        alias = f"alias_{kind}"
        ones = ((f"{base}/{{{kind}}}", name, kind), (f"{v2}/qos/{alias}s/{{{kind}}}", alias, alias))
        for one, rule, member in ones[: 1 if kind == "packet_rate_limit_rule" else 2]:  # that has no alias
            yield f"GET {one}", Line(f"get_{rule}")
            yield f"PUT {one}", Line(f"update_{rule}", {member: {}})
            yield f"DELETE {one}", Line(f"delete_{rule}")
    yield f"GET {v2}/fabric", Line("get_agent", others=False)  # administrators, as with agents
    # Whoever sees the end is told of it.
    yield f"GET {v2}/trace", Line("get_port", query="source={port}&destination=outside")
    topology = f"{v2}/auto-allocated-topology/{{project}}"
    yield f"GET {topology}", Line("get_auto_allocated_topology")
    yield f"DELETE {topology}", Line("delete_auto_allocated_topology")
    forwardings = f"{v2}/floatingips/{{floatingip}}/port_forwardings"
    rule = "floatingip_port_forwarding"
    made = {"port_forwarding": {"internal_port_id": "{port}", "internal_ip_address": "{port_address}",
                                "protocol": "tcp", "external_port": 81, "internal_port": 81,
                                "project_id": "{project}"}}  # fmt: skip
    yield f"GET {forwardings}", Line(f"get_{rule}", lists="port_forwarding")
    yield f"POST {forwardings}", Line(f"create_{rule}", made, refused=(400, 403, 404))
    yield f"GET {forwardings}/{{port_forwarding}}", Line(f"get_{rule}")
    yield f"PUT {forwardings}/{{port_forwarding}}", Line(f"update_{rule}", {"port_forwarding": {"description": "new"}})
    yield f"DELETE {forwardings}/{{port_forwarding}}", Line(f"delete_{rule}")
    proxies = f"{v2}/ndp_proxies"
    made = {"ndp_proxy": {"router_id": "{answering}", "port_id": "{unanswered}", "project_id": "{project}"}}
    yield f"GET {proxies}", Line("get_ndp_proxy", lists="ndp_proxy")
    yield f"POST {proxies}", Line("create_ndp_proxy", made, refused=(400, 403, 404, 409))
    yield f"GET {proxies}/{{ndp_proxy}}", Line("get_ndp_proxy")
    yield f"PUT {proxies}/{{ndp_proxy}}", Line("update_ndp_proxy", {"ndp_proxy": {"name": "new"}})
    yield f"DELETE {proxies}/{{ndp_proxy}}", Line("delete_ndp_proxy")
    helpers = f"{v2}/routers/{{router}}/conntrack_helpers"
    rule = "router_conntrack_helper"
    made = {"conntrack_helper": {"protocol": "udp", "port": 70, "helper": "tftp", "project_id": "{project}"}}
    yield f"GET {helpers}", Line(f"get_{rule}", lists="conntrack_helper")
    yield f"POST {helpers}", Line(f"create_{rule}", made, refused=(400, 403, 404))
    yield f"GET {helpers}/{{conntrack_helper}}", Line(f"get_{rule}")
    yield f"PUT {helpers}/{{conntrack_helper}}", Line(f"update_{rule}", {"conntrack_helper": {"port": 71}})
    yield f"DELETE {helpers}/{{conntrack_helper}}", Line(f"delete_{rule}")
    local_ips = f"{v2}/local_ips"
    made = {"local_ip": {"network_id": "{network}", "project_id": "{project}"}}
    yield f"GET {local_ips}", Line("get_local_ip", lists="local_ip")
    yield f"POST {local_ips}", Line("create_local_ip", made, refused=(400, 403, 404))
    yield f"GET {local_ips}/{{local_ip}}", Line("get_local_ip")
    yield f"PUT {local_ips}/{{local_ip}}", Line("update_local_ip", {"local_ip": {"name": "new"}})
    yield f"DELETE {local_ips}/{{local_ip}}", Line("delete_local_ip")
    leads, rule = f"{local_ips}/{{local_ip}}/port_associations", "local_ip_port_association"
    made = {"port_association": {"fixed_port_id": "{unled_port}", "project_id": "{project}"}}
    yield f"GET {leads}", Line(f"get_{rule}", lists="led_port")
    yield f"POST {leads}", Line(f"create_{rule}", made, refused=(400, 403, 404))
    yield f"GET {leads}/{{led_port}}", Line(f"get_{rule}")
    yield f"DELETE {leads}/{{led_port}}", Line(f"delete_{rule}")
    yield f"GET {v2}/floatingip_pools", Line("get_floatingip_pool", lists="public", others=False)
    yield f"GET {v2}/qos/rule-types", Line("get_rule_type", lists="rule_type")
    yield f"GET {v2}/qos/rule-types/{{rule_type}}", Line("get_agent", others=False)  # administrators, as with agents
    for kind, made in (
        ("metering_label", {"name": "new", "project_id": "{project}"}),
        ("metering_label_rule", {"metering_label_id": "{metering_label}", "direction": "ingress",
                                 "remote_ip_prefix": "10.97.0.0/16", "project_id": "{project}"}),
    ):  # fmt: skip
        base = f"{v2}/metering/{kind.replace('_', '-')}s"
        yield f"GET {base}", Line(f"get_{kind}", lists=kind)
        yield f"POST {base}", Line(f"create_{kind}", {kind: made}, refused=(400, 403, 404))
        yield f"GET {base}/{{{kind}}}", Line(f"get_{kind}")
        yield f"DELETE {base}/{{{kind}}}", Line(f"delete_{kind}")
    logs = f"{v2}/log/logs"
    made = {"log": {"resource_type": "security_group", "project_id": "{project}"}}
    yield f"GET {v2}/log/loggable-resources", Line("get_loggable_resource", lists="loggable", others=False)
    yield f"GET {logs}", Line("get_log", lists="log")
    yield f"POST {logs}", Line("create_log", made, refused=(400, 403, 404))
    yield f"GET {logs}/{{log}}", Line("get_log")
    yield f"PUT {logs}/{{log}}", Line("update_log", {"log": {"name": "new"}})
    yield f"DELETE {logs}/{{log}}", Line("delete_log")
    templates, kind = f"{v2}/default-security-group-rules", "default_security_group_rule"
    flags = {"used_in_default_sg": False, "used_in_non_default_sg": True}
    yield f"GET {templates}", Line(f"get_{kind}", lists=kind, others=False)
    yield f"POST {templates}", Line(f"create_{kind}", {kind: {"direction": "egress", "protocol": "udp", **flags}},
                                    others=False, refused=(400, 403))  # fmt: skip
    yield f"GET {templates}/{{{kind}}}", Line(f"get_{kind}", others=False)
    yield f"DELETE {templates}/{{{kind}}}", Line(f"delete_{kind}", others=False)
    settings, kind = f"{v2}/security-groups-default-statefulness", "security_groups_default_statefulness"
    yield f"GET {settings}", Line(f"get_{kind}", lists=kind)
    # One is there already: who may make one is told so.
    made = {kind: {"project_id": "{project}"}}
    yield f"POST {settings}", Line(f"create_{kind}", made, refused=(400, 403, 404))
    yield f"GET {settings}/{{{kind}}}", Line(f"get_{kind}")
    yield f"PUT {settings}/{{{kind}}}", Line(f"update_{kind}", {kind: {"stateful": True}})
    yield f"DELETE {settings}/{{{kind}}}", Line(f"delete_{kind}")
    bindings = f"{v2}/ports/{{server_port}}/bindings"
    yield f"GET {bindings}", Line("get_port_binding", lists="binding")
    yield f"POST {bindings}", Line("create_port_binding", {"binding": {"host": "new"}})
    yield f"GET {bindings}/{{binding}}", Line("get_port_binding")
    yield f"PUT {bindings}/{{binding}}/activate", Line("activate")
    yield f"DELETE {bindings}/{{binding}}", Line("delete_port_binding")
    flavor = {"service_type": "L3_ROUTER_NAT"}
    for kind, made in (("network_flavor", flavor), ("service_profile", {"metainfo": "new"})):
        rule = kind.removeprefix("network_")
        base = f"{v2}/{rule}s"
        yield f"GET {base}", Line(f"get_{rule}", lists=kind)
        yield f"POST {base}", Line(f"create_{rule}", {rule: made})
        yield f"GET {base}/{{{kind}}}", Line(f"get_{rule}")
        yield f"PUT {base}/{{{kind}}}", Line(f"update_{rule}", {rule: {}})
        yield f"DELETE {base}/{{{kind}}}", Line(f"delete_{rule}")
    profiles = f"{v2}/flavors/{{network_flavor}}/service_profiles"
    body = {"service_profile": {"id": "{service_profile}"}}
    yield f"POST {profiles}", Line("create_flavor_service_profile", body)
    yield f"DELETE {profiles}/{{used_profile}}", Line("delete_flavor_service_profile")
    router = f"{v2}/routers/{{router}}"
    routes = {"router": {"routes": []}}
    for verb in ("add", "remove"):
        yield f"PUT {router}/{verb}_router_interface", Line(f"{verb}_router_interface", {"subnet_id": "{subnet}"})
        yield f"PUT {router}/{verb}_extraroutes", Line(f"{verb}_extraroutes", routes)
    yield f"GET {v2}", Line(None)
    yield f"GET {v2}/extensions", Line(None)
    yield f"GET {v2}/extensions/{{extension}}", Line(None)
    yield f"GET {v2}/agents", Line("get_agent", lists="agent")
    agent = f"{v2}/agents/{{agent}}"
    yield f"GET {agent}", Line("get_agent")
    yield f"PUT {agent}", Line("update_agent", {"agent": {}})
    yield f"DELETE {agent}", Line("delete_agent")
    yield f"GET {agent}/dhcp-networks", Line("get_dhcp-networks")
    yield f"GET {agent}/l3-routers", Line("get_l3-routers")
    dhcp, l3 = f"{v2}/agents/{{dhcp_agent}}", f"{v2}/agents/{{l3_agent}}"
    yield f"POST {dhcp}/dhcp-networks", Line("create_dhcp-network", {"network_id": "{unserved_network}"}, others=False)
    yield f"DELETE {dhcp}/dhcp-networks/{{network}}", Line("delete_dhcp-network", others=False)
    yield f"POST {l3}/l3-routers", Line("create_l3-router", {"router_id": "{router}"}, others=False)
    yield f"DELETE {l3}/l3-routers/{{router}}", Line("delete_l3-router", others=False)
    yield f"GET {v2}/networks/{{network}}/dhcp-agents", Line("get_dhcp-agents")
    yield f"GET {router}/l3-agents", Line("get_l3-agents")
    yield f"GET {v2}/availability_zones", Line("get_availability_zone", lists="zone")
    yield f"GET {v2}/service-providers", Line("get_service_provider", lists="service_provider")
    yield f"GET {v2}/network-ip-availabilities", Line("get_network_ip_availability", lists="network")
    yield f"GET {v2}/network-ip-availabilities/{{network}}", Line("get_network_ip_availability")
    # Neutron asks about the caller's project whatever project is meant, so that managers read all: not here.
    yield f"GET {v2}/quotas", Line("update_quota")
    for name in ("tenant", "project"):
        yield f"GET {v2}/quotas/{name}", Line(None)
    for tail in ("", "/default", "/details", "/details.json"):
        yield f"GET {v2}/quotas/{{project}}{tail}", Line("get_quota", also=IN_PROJECT)
    yield f"PUT {v2}/quotas/{{project}}", Line("update_quota", {"quota": {"network": 7}})
    yield f"DELETE {v2}/quotas/{{project}}", Line("delete_quota")


def _tags(one: str, kind: str, write: str | None = None) -> Iterator[tuple[str, Line]]:
    """By the rules of the tags of a kind; where there are none, by `write` and that of reading the kind itself."""
    read, make, change, drop = (
        f"get_{kind}" if write and verb == "get" else write or f"{verb}_{kind}:tags"
        for verb in ("get", "create", "update", "delete")
    )
    yield f"GET {one}/tags", Line(read)
    yield f"GET {one}/tags/{{tag}}", Line(read)
    yield f"PUT {one}/tags", Line(change, {"tags": ["t"]})
    yield f"POST {one}/tags", Line(make, {"tags": ["t"]})
    yield f"PUT {one}/tags/{{tag}}", Line(change)
    yield f"DELETE {one}/tags", Line(drop)
    yield f"DELETE {one}/tags/{{tag}}", Line(drop)


def _image() -> Iterator[tuple[str, Line]]:
    v2 = "/image/v2"
    patch = {"content-type": "application/openstack-images-v2.1-json-patch"}
    one = f"{v2}/images/{{image}}"
    yield f"GET {v2}/images", Line("get_image", lists="image")
    made = {"name": "new", "disk_format": "raw", "container_format": "bare", "owner": "{project}"}
    yield f"POST {v2}/images", Line("add_image", made)
    yield f"GET {one}", Line("get_image")
    renamed = [{"op": "replace", "path": "/name", "value": "new"}]
    yield f"PATCH {one}", Line("modify_image", renamed, headers=patch)
    yield f"GET {one}/file", Line("download_image")
    yield f"PUT {one}/file", Line("upload_image", b"new", headers={"content-type": "application/octet-stream"})
    octets = {"content-type": "application/octet-stream"}
    yield f"PUT {one}/stage", Line("modify_image", b"new", headers=octets)
    yield f"POST {one}/import", Line("modify_image", {"method": {"name": "glance-direct"}})
    yield f"GET {one}/tasks", Line("get_image")
    for action in ("deactivate", "reactivate"):
        yield f"POST {one}/actions/{action}", Line(action)
    for method in ("PUT", "DELETE"):
        yield f"{method} {one}/tags/{{tag}}", Line("modify_image")
    yield f"GET {one}/members", Line("get_members")
    yield f"POST {one}/members", Line("add_member", {"member": "7" * 32})
    yield f"GET {one}/members/{{image_member}}", Line("get_member")
    yield f"PUT {one}/members/{{image_member}}", Line("modify_member", {"status": "accepted"})
    yield f"DELETE {one}/members/{{image_member}}", Line("delete_member")
    for name in ("image", "images", "member", "members", "task", "tasks"):
        yield f"GET {v2}/schemas/{name}", Line(None)
    for name in ("namespace", "object", "resource_type", "tag"):
        yield f"GET {v2}/schemas/metadefs/{name}", Line(None)
        yield f"GET {v2}/schemas/metadefs/{name}s", Line(None)
    for name in ("property", "properties"):
        yield f"GET {v2}/schemas/metadefs/{name}", Line(None)
    yield f"GET {v2}/info/import", Line(None)
    yield f"GET {v2}/info/stores", Line(None)
    yield f"GET {v2}/info/stores/detail", Line("stores_info_detail")
    # The image has no data: who may is told so.
    yield f"DELETE {v2}/stores/{{image_store}}/{{bare_image}}", Line("delete_image_location")
    yield f"GET {v2}/info/usage", Line(None)
    yield f"GET {v2}/tasks", Line("tasks_api_access")
    task = {"import_from": "http://127.0.0.1/", "import_from_format": "raw", "image_properties": made}
    yield f"POST {v2}/tasks", Line("tasks_api_access", {"type": "import", "input": task}, others=False)
    yield f"GET {v2}/tasks/{{task}}", Line("tasks_api_access")
    yield f"DELETE {v2}/tasks/{{task}}", Line("tasks_api_access")
    yield from _metadefs(f"{v2}/metadefs")
    # Last: the data go with it, outside of the transaction.
    yield f"DELETE {one}", Line("delete_image")


def _placement() -> Iterator[tuple[str, Line]]:
    root, rule = "/placement", "placement:resource_providers"
    one = f"{root}/resource_providers/{{provider}}"
    at = {"resource_provider_generation": 0}
    yield f"GET {root}/resource_providers", Line(f"{rule}:list", others=False)
    yield f"POST {root}/resource_providers", Line(f"{rule}:create", {"name": "another"}, others=False)
    yield f"GET {one}", Line(f"{rule}:show", others=False)
    yield f"PUT {one}", Line(f"{rule}:update", {"name": "renamed"}, others=False)
    yield f"DELETE {one}", Line(f"{rule}:delete", others=False)
    for method, verb, body in (
        ("GET", "list", None), ("POST", "create", {"resource_class": "VCPU", "total": 1}),
        ("PUT", "update", {**at, "inventories": {}}), ("DELETE", "delete", None),
    ):  # fmt: skip
        yield f"{method} {one}/inventories", Line(f"{rule}:inventories:{verb}", body, others=False)
    for method, verb, body in (
        ("GET", "show", None),
        ("PUT", "update", {**at, "total": 1}),
        ("DELETE", "delete", None),
    ):
        yield f"{method} {one}/inventories/{{stock}}", Line(f"{rule}:inventories:{verb}", body, others=False)
    yield f"GET {one}/usages", Line(f"{rule}:usages", others=False)
    yield f"GET {one}/allocations", Line(f"{rule}:allocations:list", others=False)
    yield f"GET {one}/aggregates", Line(f"{rule}:aggregates:list", others=False)
    yield f"PUT {one}/aggregates", Line(f"{rule}:aggregates:update", {**at, "aggregates": []}, others=False)
    yield f"GET {one}/traits", Line(f"{rule}:traits:list", others=False)
    yield f"PUT {one}/traits", Line(f"{rule}:traits:update", {**at, "traits": []}, others=False)
    yield f"DELETE {one}/traits", Line(f"{rule}:traits:delete", others=False)
    for kind, name in (("resource_classes", "custom_class"), ("traits", "custom_trait")):
        yield f"GET {root}/{kind}", Line(f"placement:{kind}:list", others=False)
        for method, verb in (("GET", "show"), ("PUT", "update"), ("DELETE", "delete")):
            yield f"{method} {root}/{kind}/{{{name}}}", Line(f"placement:{kind}:{verb}", others=False)
    made = {"name": "CUSTOM_ANOTHER"}
    yield f"POST {root}/resource_classes", Line("placement:resource_classes:create", made, others=False)
    taken = {"allocations": {}, "project_id": "{project}", "user_id": "u", "consumer_generation": None,
             "consumer_type": "TEST"}  # fmt: skip
    yield f"POST {root}/allocations", Line("placement:allocations:manage", {"{nobody}": taken}, others=False)
    for method, verb, body in (("GET", "list", None), ("PUT", "update", taken), ("DELETE", "delete", None)):
        # Who may delete what nobody has taken is told that there is nothing.
        path = "{consumer}" if method == "DELETE" else "{nobody}"
        yield f"{method} {root}/allocations/{path}", Line(f"placement:allocations:{verb}", body, others=False)
    wish = "resources=VCPU:1"
    yield f"GET {root}/allocation_candidates", Line("placement:allocation_candidates:list", query=wish, others=False)
    yield f"GET {root}/usages", Line("placement:usages", query="project_id={project}")
    stock = {"{provider}": {**at, "inventories": {}}}
    body = {"inventories": stock, "allocations": {}}
    yield f"POST {root}/reshaper", Line("placement:reshaper:reshape", body, others=False)


def _volume() -> Iterator[tuple[str, Line]]:
    v3, extension = "/volume/v3", "volume_extension"
    types, one = f"{v3}/types", f"{v3}/types/{{volume_type}}"
    yield f"GET {types}", Line(f"{extension}:type_get_all", lists="volume_type", others=False)
    yield f"POST {types}", Line(f"{extension}:type_create", {"volume_type": {"name": "new"}})
    yield f"GET {one}", Line(f"{extension}:type_get", others=False)
    yield f"PUT {one}", Line(f"{extension}:type_update", {"volume_type": {"description": "new"}})
    yield f"DELETE {one}", Line(f"{extension}:type_delete")
    access = f"{extension}:volume_type_access"
    closed = f"{v3}/types/{{closed_type}}"
    yield f"POST {closed}/action", Line(f"{access}:addProjectAccess", {"addProjectAccess": {"project": "7" * 32}})
    yield f"GET {closed}/os-volume-type-access", Line(f"{access}:get_all_for_type")
    specs, rule = f"{one}/extra_specs", f"{extension}:types_extra_specs"
    yield f"GET {specs}", Line(f"{rule}:index", others=False)
    yield f"POST {specs}", Line(f"{rule}:create", {"extra_specs": {"a": "b"}})
    yield f"GET {specs}/{{visible_spec}}", Line(f"{rule}:show", others=False)
    yield f"PUT {specs}/{{visible_spec}}", Line(f"{rule}:update", {"multiattach": "<is> False"})
    yield f"DELETE {specs}/{{visible_spec}}", Line(f"{rule}:delete")
    one, path = f"{v3}/volumes/{{volume}}", f"{v3}/volumes"
    for tail in ("", "/detail"):
        yield f"GET {path}{tail}", Line("volume:get_all", lists="volume", others=False)
    yield f"GET {path}/summary", Line("volume:get_all", others=False)
    yield f"POST {path}", Line("volume:create", {"volume": {"size": 1}}, others=False)
    yield f"GET {one}", Line("volume:get")
    yield f"PUT {one}", Line("volume:update", {"volume": {"name": "new"}})
    yield f"DELETE {one}", Line("volume:delete", query="cascade=true")
    yield f"POST {one}/action", Line("volume:extend", {"os-extend": {"new_size": 2}})
    one, path = f"{v3}/snapshots/{{volume_snapshot}}", f"{v3}/snapshots"
    for tail in ("", "/detail"):
        yield f"GET {path}{tail}", Line("volume:get_all_snapshots", lists="volume_snapshot", others=False)
    made = {"snapshot": {"volume_id": "{volume}"}}
    yield f"POST {path}", Line("volume:create_snapshot", made)
    yield f"GET {one}", Line("volume:get_snapshot")
    yield f"PUT {one}", Line("volume:update_snapshot", {"snapshot": {"name": "new"}})
    yield f"DELETE {one}", Line("volume:delete_snapshot")
    action = "snapshot_extension:snapshot_actions:update_snapshot_status"
    yield f"POST {one}/action", Line(action, {"os-update_snapshot_status": {"status": "available"}})
    for one, kind, make in (
        ("volumes/{volume}", "volume", "create"),
        ("snapshots/{volume_snapshot}", "snapshot", "update"),
    ):
        base = f"{v3}/{one}/metadata"
        yield f"GET {base}", Line(f"volume:get_{kind}_metadata")
        yield f"POST {base}", Line(f"volume:{make}_{kind}_metadata", {"metadata": {"k": "v"}})
        yield f"PUT {base}", Line(f"volume:update_{kind}_metadata", {"metadata": {"k": "v"}})
        yield f"GET {base}/{{key}}", Line(f"volume:get_{kind}_metadata")
        yield f"PUT {base}/{{key}}", Line(f"volume:update_{kind}_metadata", {"meta": {"k": "v"}})
        yield f"DELETE {base}/{{key}}", Line(f"volume:delete_{kind}_metadata")
    one, path = f"{v3}/attachments/{{volume_attachment}}", f"{v3}/attachments"
    for tail in ("", "/detail"):
        yield f"GET {path}{tail}", Line("volume:get_all", lists="volume_attachment", others=False, also=IN_PROJECT)
    yield f"POST {path}", Line("volume:attachment_create", {"attachment": {"volume_uuid": "{volume}"}})
    yield f"GET {one}", Line("volume:get", also=IN_PROJECT)
    connector = {"connector": {"host": "aio"}}
    yield f"PUT {one}", Line("volume:attachment_update", {"attachment": connector})
    yield f"DELETE {one}", Line("volume:attachment_delete")
    yield f"POST {one}/action", Line("volume:attachment_complete", {"os-complete": None})
    one, path = f"{v3}/backups/{{backup}}", f"{v3}/backups"
    for tail in ("", "/detail"):
        yield f"GET {path}{tail}", Line("backup:get_all", lists="backup", others=False)
    yield f"POST {path}", Line("backup:create", {"backup": {"volume_id": "{saved_volume}"}})
    record = {"backup-record": {"backup_service": "x", "backup_url": "e30="}}
    yield f"POST {path}/import_record", Line("backup:backup-import", record, others=False)
    yield f"GET {one}", Line("backup:get")
    yield f"PUT {one}", Line("backup:update", {"backup": {"name": "new"}})
    yield f"DELETE {one}", Line("backup:delete")
    yield f"POST {one}/restore", Line("backup:restore", {"restore": {}})
    yield f"GET {one}/export_record", Line("backup:export-import")
    action = f"{extension}:backup_admin_actions:reset_status"
    yield f"POST {one}/action", Line(action, {"os-reset_status": {"status": "error"}})
    one, path = f"{v3}/groups/{{volume_group}}", f"{v3}/groups"
    for tail in ("", "/detail"):
        yield f"GET {path}{tail}", Line("group:get_all", lists="volume_group", others=False)
    made: dict[str, Any] = {"group": {"group_type": "{group_type}", "volume_types": ["{volume_type}"]}}
    yield f"POST {path}", Line("group:create", made, others=False)
    yield f"POST {path}/action", Line("group:create", {"create-from-src": {"source_group_id": "{volume_group}"}})
    yield f"GET {one}", Line("group:get")
    yield f"PUT {one}", Line("group:update", {"group": {"name": "new"}})
    yield f"POST {one}/action", Line("group:delete", {"delete": {"delete-volumes": True}})
    one, path = f"{v3}/group_snapshots/{{group_snapshot}}", f"{v3}/group_snapshots"
    for tail in ("", "/detail"):
        yield f"GET {path}{tail}", Line("group:get_all_group_snapshots", lists="group_snapshot", others=False)
    yield f"POST {path}", Line("group:create_group_snapshot", {"group_snapshot": {"group_id": "{volume_group}"}})
    yield f"GET {one}", Line("group:get_group_snapshot")
    yield f"DELETE {one}", Line("group:delete_group_snapshot")
    action = {"reset_status": {"status": "error"}}
    yield f"POST {one}/action", Line("group:reset_group_snapshot_status", action)
    one, rule = f"{v3}/group_types/{{closed_group_type}}", "group:group_types"
    yield f"GET {v3}/group_types", Line(None)
    yield f"GET {v3}/group_types/{{group_type}}", Line(None)
    yield f"POST {v3}/group_types", Line(f"{rule}:create", {"group_type": {"name": "new"}})
    yield f"PUT {one}", Line(f"{rule}:update", {"group_type": {"description": "new"}})
    yield f"DELETE {one}", Line(f"{rule}:delete")
    specs = f"{one}/group_specs"
    yield f"GET {specs}", Line(f"{rule}_specs:get_all")
    yield f"POST {specs}", Line(f"{rule}_specs:create", {"group_specs": {"a": "b"}})
    yield f"GET {specs}/{{key}}", Line(f"{rule}_specs:get")
    yield f"PUT {specs}/{{key}}", Line(f"{rule}_specs:update", {"k": "w"})
    yield f"DELETE {specs}/{{key}}", Line(f"{rule}_specs:delete")
    for path in (f"{v3}/os-volume-transfer", f"{v3}/volume-transfers"):
        one = f"{path}/{{volume_transfer}}"
        for tail in ("", "/detail"):
            yield f"GET {path}{tail}", Line("volume:get_all_transfers", lists="volume_transfer", others=False)
        yield f"POST {path}", Line("volume:create_transfer", {"transfer": {"volume_id": "{volume}"}})
        yield f"GET {one}", Line("volume:get_transfer")
        yield f"DELETE {one}", Line("volume:delete_transfer")
        yield f"POST {one}/accept", Line("volume:accept_transfer", {"accept": {"auth_key": "none"}}, others=False)
    # Of a host that is not there: no other answers here.
    there: dict[str, Any] = {"query": "host=nowhere@file", "refused": (403,)}
    for path in ("os-volume-manage", "manageable_volumes"):
        for tail in ("", "/detail"):
            yield f"GET {v3}/{path}{tail}", Line(f"{extension}:list_manageable", **there)
        asked = {"volume": {"host": "nowhere@file", "ref": {"source-name": "x.raw"}}}
        yield f"POST {v3}/{path}", Line(f"{extension}:volume_manage", asked, refused=(403,))
    for path in ("os-snapshot-manage", "manageable_snapshots"):
        for tail in ("", "/detail"):
            yield f"GET {v3}/{path}{tail}", Line("snapshot_extension:list_manageable", **there)
        asked = {"snapshot": {"volume_id": "7" * 32, "ref": {"source-name": "x.raw"}}}
        yield f"POST {v3}/{path}", Line("snapshot_extension:snapshot_manage", asked, refused=(403,))
    yield f"GET {v3}/os-availability-zone", Line(None)
    yield f"GET {v3}/resource_filters", Line(None)
    yield f"GET {v3}/os-services", Line(f"{extension}:services:index")
    yield f"PUT {v3}/os-services/{{service_action}}", Line(f"{extension}:services:update", {"host": "aio"})
    yield f"GET {v3}/os-hosts", Line(f"{extension}:hosts")
    yield f"GET {v3}/os-hosts/{{service_host}}", Line(f"{extension}:hosts", refused=(403,))
    yield f"PUT {v3}/os-hosts/{{service_host}}", Line(f"{extension}:hosts", {"status": "enable"}, refused=(403,))
    for tail in ("", "/detail"):
        yield f"GET {v3}/clusters{tail}", Line("clusters:get_all")
    yield f"GET {v3}/clusters/{{key}}", Line("clusters:get", refused=(403,))
    yield f"PUT {v3}/clusters/{{cluster_action}}", Line("clusters:update", {"name": "c"}, refused=(403,))
    yield f"POST {v3}/workers/cleanup", Line("workers:cleanup", {})
    yield f"GET {v3}/volumes/{{volume}}/encryption", Line(f"{extension}:volume_encryption_metadata")
    rule, one = f"{extension}:volume_type_encryption", f"{types}/{{volume_type}}/encryption"
    yield f"GET {one}", Line(f"{rule}:get")
    yield f"POST {one}", Line(f"{rule}:create", {"encryption": {"provider": "luks", "control_location": "front-end"}})
    yield f"PUT {one}/{{key}}", Line(f"{rule}:update", {"encryption": {"key_size": 256}}, refused=(403,))
    for verb, name in (("GET", "get"), ("DELETE", "delete")):
        yield f"{verb} {one}/{{key}}", Line(f"{rule}:{name}", refused=(403,))
    yield f"GET {v3}/scheduler-stats/get_pools", Line("scheduler_extension:scheduler_stats:get_pools")
    yield f"GET {v3}/capabilities/{{backend}}", Line(f"{extension}:capabilities")
    rule, one = f"{extension}:qos_specs_manage", f"{v3}/qos-specs/{{qos_specs}}"
    yield f"GET {v3}/qos-specs", Line(f"{rule}:get_all", lists="qos_specs")
    yield f"POST {v3}/qos-specs", Line(f"{rule}:create", {"qos_specs": {"name": "new"}})
    yield f"GET {one}", Line(f"{rule}:get")
    yield f"PUT {one}", Line(f"{rule}:update", {"qos_specs": {"a": "b"}})
    yield f"DELETE {one}", Line(f"{rule}:delete", query="force=true")
    yield f"PUT {one}/delete_keys", Line(f"{rule}:delete", {"keys": []})
    yield f"GET {one}/associations", Line(f"{rule}:get_all")
    for verb in ("associate", "disassociate"):
        yield f"GET {one}/{verb}", Line(f"{rule}:update", query="vol_type_id={volume_type}")
    yield f"GET {one}/disassociate_all", Line(f"{rule}:update")
    quotas = f"{v3}/os-quota-sets/{{project}}"
    yield f"GET {quotas}", Line(f"{extension}:quotas:show")
    yield f"PUT {quotas}", Line(f"{extension}:quotas:update", {"quota_set": {"volumes": 9}})
    yield f"DELETE {quotas}", Line(f"{extension}:quotas:delete")
    yield f"GET {quotas}/defaults", Line(f"{extension}:quotas:show")
    rule, one = f"{extension}:default", f"{v3}/default-types/{{project}}"
    yield f"GET {v3}/default-types", Line(f"{rule}_get_all")
    yield f"GET {one}", Line(f"{rule}_get")
    yield f"PUT {one}", Line(f"{rule}_set_or_update", {"default_type": {"volume_type": "{volume_type}"}})
    yield f"DELETE {one}", Line(f"{rule}_unset")
    classes = f"{v3}/os-quota-class-sets/{{quota_class}}"
    yield f"GET {classes}", Line(f"{extension}:quota_classes:get")
    yield f"PUT {classes}", Line(f"{extension}:quota_classes:update", {"quota_class_set": {"volumes": 9}})
    for path in ("limits", "extensions", "extensions/{volume_extension}"):
        yield f"GET {v3}/{path}", Line(None)
    yield f"GET {v3}/messages", Line("message:get_all", lists="volume_message")
    yield f"GET {v3}/messages/{{volume_message}}", Line("message:get")
    yield f"DELETE {v3}/messages/{{volume_message}}", Line("message:delete")


def _metadefs(base: str) -> Iterator[tuple[str, Line]]:
    spaces, one = f"{base}/namespaces", f"{base}/namespaces/{{namespace}}"
    prop = {"name": "new", "title": "t", "type": "string"}
    yield f"GET {base}/resource_types", Line("get_metadef_namespaces", others=False)
    yield f"GET {spaces}", Line("get_metadef_namespace", lists="namespace", query="limit=1000")
    yield f"POST {spaces}", Line("add_metadef_namespace", {"namespace": "new"})
    yield f"GET {one}", Line("get_metadef_namespace")
    yield f"PUT {one}", Line("modify_metadef_namespace", {"namespace": "{namespace}", "description": "new"})
    yield f"GET {one}/objects", Line("get_metadef_objects")
    yield f"POST {one}/objects", Line("add_metadef_object", {"name": "new"})
    yield f"GET {one}/objects/{{metadef}}", Line("get_metadef_object")
    yield f"PUT {one}/objects/{{metadef}}", Line("modify_metadef_object", {"name": "new"})
    yield f"DELETE {one}/objects/{{metadef}}", Line("delete_metadef_object")
    yield f"DELETE {one}/objects", Line("delete_metadef_namespace")
    yield f"GET {one}/properties", Line("get_metadef_properties")
    yield f"POST {one}/properties", Line("add_metadef_property", prop)
    yield f"GET {one}/properties/{{metadef}}", Line("get_metadef_property")
    yield f"PUT {one}/properties/{{metadef}}", Line("modify_metadef_property", prop)
    yield f"DELETE {one}/properties/{{metadef}}", Line("remove_metadef_property")
    yield f"DELETE {one}/properties", Line("delete_metadef_namespace")
    yield f"GET {one}/tags", Line("get_metadef_tags")
    yield f"POST {one}/tags", Line("add_metadef_tags", {"tags": [{"name": "new"}]})
    yield f"GET {one}/tags/{{metadef}}", Line("get_metadef_tag")
    yield f"POST {one}/tags/{{property}}", Line("add_metadef_tag")
    yield f"PUT {one}/tags/{{metadef}}", Line("modify_metadef_tag", {"name": "new"})
    yield f"DELETE {one}/tags/{{metadef}}", Line("delete_metadef_tag")
    yield f"DELETE {one}/tags", Line("delete_metadef_tags")
    yield f"GET {one}/resource_types", Line("list_metadef_resource_types")
    yield f"POST {one}/resource_types", Line("add_metadef_resource_type_association", {"name": "new"})
    yield f"DELETE {one}/resource_types/{{metadef}}", Line("remove_metadef_resource_type_association")
    yield f"DELETE {one}", Line("delete_metadef_namespace")


def _compute() -> Iterator[tuple[str, Line]]:
    v2 = "/compute/v2.1"
    flavor = f"{v2}/flavors/{{flavor}}"
    for path in ("/flavors", "/flavors/detail", "/flavors/{flavor}"):
        yield f"GET {v2}{path}", Line(None)
    made = {"flavor": {"name": "new", "ram": 64, "vcpus": 1, "disk": 1}}
    yield f"POST {v2}/flavors", Line("os-flavor-manage:create", made)
    yield f"PUT {flavor}", Line("os-flavor-manage:update", {"flavor": {"description": "new"}})
    yield f"DELETE {flavor}", Line("os-flavor-manage:delete")
    access = {"addTenantAccess": {"tenant": "7" * 32}}
    yield f"POST {flavor}/action", Line("os-flavor-access:add_tenant_access", access)
    yield f"GET {v2}/flavors/{{private_flavor}}/os-flavor-access", Line("os-flavor-access")
    specs, extra = f"{flavor}/os-extra_specs", "os-flavor-extra-specs"
    yield f"GET {specs}", Line(f"{extra}:index", others=False)
    yield f"POST {specs}", Line(f"{extra}:create", {"extra_specs": {"a": "b"}})
    yield f"GET {specs}/{{key}}", Line(f"{extra}:show", others=False)
    yield f"PUT {specs}/{{key}}", Line(f"{extra}:update", {"k": "b"})
    yield f"DELETE {specs}/{{key}}", Line(f"{extra}:delete")
    keys = f"{v2}/os-keypairs"
    yield f"GET {keys}", Line("os-keypairs:index", query="user_id={user}")
    yield f"POST {keys}", Line("os-keypairs:create", {"keypair": {"name": "new", "user_id": "{user}",
                                                                  "public_key": KEY}})  # fmt: skip
    yield f"GET {keys}/{{keypair}}", Line("os-keypairs:show", query="user_id={user}")
    yield f"DELETE {keys}/{{keypair}}", Line("os-keypairs:delete", query="user_id={user}")
    yield f"GET {v2}/servers", Line("servers:index", lists="server", others=False)
    yield f"GET {v2}/servers/detail", Line("servers:detail", lists="server", others=False)
    server = {"name": "new", "imageRef": "{image}", "flavorRef": "{flavor}", "networks": "none"}
    yield f"POST {v2}/servers", Line("servers:create", {"server": server}, others=False)
    one = f"{v2}/servers/{{server}}"
    yield f"GET {one}", Line("servers:show")
    yield f"PUT {one}", Line("servers:update", {"server": {"name": "new"}})
    yield f"DELETE {one}", Line("servers:delete")
    yield f"POST {one}/action", Line("os-lock-server:lock", {"lock": None})
    for part, rule in (("metadata", "server-metadata"), ("tags", "os-server-tags")):
        key = "{key}" if part == "metadata" else "{tag}"
        yield f"GET {one}/{part}", Line(f"{rule}:index")
        yield f"PUT {one}/{part}", Line(f"{rule}:update_all", {part: {"k": "v"} if part == "metadata" else ["t"]})
        yield f"GET {one}/{part}/{key}", Line(f"{rule}:show")
        yield f"PUT {one}/{part}/{key}", Line(f"{rule}:update", {"meta": {"k": "v"}} if part == "metadata" else None)
        yield f"DELETE {one}/{part}/{key}", Line(f"{rule}:delete")
    yield f"POST {one}/metadata", Line("server-metadata:create", {"metadata": {"k": "v"}})
    yield f"DELETE {one}/tags", Line("os-server-tags:delete_all")
    yield f"GET {one}/ips", Line("ips:index")
    yield f"GET {one}/ips/{{network_name}}", Line("ips:show")
    yield f"GET {one}/os-security-groups", Line("os-security-groups:list")
    yield f"GET {one}/os-interface", Line("os-attach-interfaces:list")
    yield f"POST {one}/os-interface", Line("os-attach-interfaces:create", {"interfaceAttachment": {}})
    yield f"GET {one}/os-interface/{{server_port}}", Line("os-attach-interfaces:show")
    yield f"DELETE {one}/os-interface/{{server_port}}", Line("os-attach-interfaces:delete")
    yield f"GET {one}/os-volume_attachments", Line("os-volumes-attachments:index")
    yield (
        f"POST {one}/os-volume_attachments",
        Line("os-volumes-attachments:create", {"volumeAttachment": {"volumeId": "{volume}"}}),
    )
    held = f"{one}/os-volume_attachments/{{held_volume}}"
    yield f"GET {held}", Line("os-volumes-attachments:show")
    yield f"PUT {held}", Line("os-volumes-attachments:update", {"volumeAttachment": {"volumeId": "{held_volume}"}})
    yield f"DELETE {held}", Line("os-volumes-attachments:delete")
    yield (
        f"POST {one}/remote-consoles",
        Line("os-remote-consoles", {"remote_console": {"protocol": "vnc", "type": "novnc"}}),
    )
    shared = {"openstack-api-version": "compute 2.97"}
    yield f"GET {one}/shares", Line("os-server-shares:index", headers=shared)
    yield f"POST {one}/shares", Line("os-server-shares:create", {"share": {"share_id": "{volume}"}}, headers=shared)
    # No server has one: who may look is told so, and who may not that there is no such server.
    yield f"GET {one}/shares/{{volume}}", Line("os-server-shares:show", lists="volume", headers=shared, refused=(403,))
    yield f"DELETE {one}/shares/{{key}}", Line("os-server-shares:delete", headers=shared)
    # For whom may see tokens there is none.
    yield f"GET {v2}/os-console-auth-tokens/{{key}}", Line("os-console-auth-tokens", others=False, refused=(403,))
    live = f"{one}/migrations"
    yield f"GET {live}", Line("servers:migrations:index")
    yield f"GET {live}/{{live_migration}}", Line("servers:migrations:show")
    yield f"DELETE {live}/{{live_migration}}", Line("servers:migrations:delete")
    yield f"POST {live}/{{live_migration}}/action", Line("servers:migrations:force_complete", {"force_complete": None})
    yield f"GET {one}/diagnostics", Line("os-server-diagnostics")
    placed = {"openstack-api-version": "compute 2.78"}
    yield f"GET {one}/topology", Line("compute:server:topology:index", headers=placed)
    yield f"GET {one}/os-server-password", Line("os-server-password:show")
    yield f"DELETE {one}/os-server-password", Line("os-server-password:clear")
    yield f"GET {one}/os-instance-actions", Line("os-instance-actions:list")
    yield f"GET {one}/os-instance-actions/{{request}}", Line("os-instance-actions:show")
    yield f"GET {v2}/os-availability-zone", Line("os-availability-zone:list")
    yield f"GET {v2}/os-availability-zone/detail", Line("os-availability-zone:detail")
    yield f"GET {v2}/os-services", Line("os-services:list")
    yield f"PUT {v2}/os-services/{{host_service}}", Line("os-services:update", {"status": "enabled"})
    yield f"DELETE {v2}/os-services/{{host_service}}", Line("os-services:delete")
    hypervisors = f"{v2}/os-hypervisors"
    for tail, rule in (("", "list"), ("/detail", "list-detail"), ("/{hypervisor}", "show")):
        yield f"GET {hypervisors}{tail}", Line(f"os-hypervisors:{rule}")
    old = {"openstack-api-version": "compute 2.80"}
    yield f"GET {hypervisors}/statistics", Line("os-hypervisors:statistics", headers=old)
    yield f"GET {hypervisors}/{{hypervisor}}/uptime", Line("os-hypervisors:uptime", headers=old)
    oldest = {"openstack-api-version": "compute 2.42"}
    for tail in ("search", "servers"):
        yield f"GET {hypervisors}/{{compute_host}}/{tail}", Line(f"os-hypervisors:{tail}", headers=oldest)
    yield f"GET {v2}/os-hosts", Line("os-hosts:list", headers=oldest)
    yield f"GET {v2}/os-hosts/{{compute_host}}", Line("os-hosts:show", headers=oldest)
    yield f"PUT {v2}/os-hosts/{{compute_host}}", Line("os-hosts:update", {"status": "enable"}, headers=oldest)
    for tail, rule in (("startup", "start"), ("shutdown", "shutdown"), ("reboot", "reboot")):
        yield f"GET {v2}/os-hosts/{{compute_host}}/{tail}", Line(f"os-hosts:{rule}", headers=oldest)
    aggregates = f"{v2}/os-aggregates"
    yield f"GET {aggregates}", Line("os-aggregates:index")
    yield f"POST {aggregates}", Line("os-aggregates:create", {"aggregate": {"name": "new"}})
    yield f"GET {aggregates}/{{aggregate}}", Line("os-aggregates:show")
    yield f"PUT {aggregates}/{{aggregate}}", Line("os-aggregates:update", {"aggregate": {"name": "new"}})
    yield f"DELETE {aggregates}/{{aggregate}}", Line("os-aggregates:delete")
    yield (
        f"POST {aggregates}/{{aggregate}}/action",
        Line("os-aggregates:set_metadata", {"set_metadata": {"metadata": {}}}),
    )
    yield (
        f"POST {aggregates}/{{aggregate}}/images",
        Line(
            "compute:aggregates:images",
            {"cache": [{"id": "00000000-0000-4000-8000-000000000000"}]},
            headers={"openstack-api-version": "compute 2.81"},
        ),
    )
    yield f"GET {v2}/limits", Line("limits")
    quota = f"{v2}/os-quota-sets/{{project}}"
    yield f"GET {quota}", Line("os-quota-sets:show")
    yield f"GET {quota}/detail", Line("os-quota-sets:detail")
    yield f"GET {quota}/defaults", Line("os-quota-sets:defaults")
    yield f"PUT {quota}", Line("os-quota-sets:update", {"quota_set": {"cores": 9}})
    yield f"DELETE {quota}", Line("os-quota-sets:delete")
    classes = f"{v2}/os-quota-class-sets/{{tag}}"
    yield f"GET {classes}", Line("os-quota-class-sets:show")
    yield f"PUT {classes}", Line("os-quota-class-sets:update", {"quota_class_set": {"cores": 9}})
    usage = f"{v2}/os-simple-tenant-usage"
    yield f"GET {usage}", Line("os-simple-tenant-usage:list")
    yield f"GET {usage}/{{project}}", Line("os-simple-tenant-usage:show")
    audits = f"{v2}/os-instance_usage_audit_log"
    yield f"GET {audits}", Line("os-instance-usage-audit-log:list")
    yield f"GET {audits}/{{moment}}", Line("os-instance-usage-audit-log:show")
    event = {"events": [{"name": "network-changed", "server_uuid": "{server}"}]}
    yield f"POST {v2}/os-server-external-events", Line("os-server-external-events:create", event)
    groups = f"{v2}/os-server-groups"
    yield f"GET {groups}", Line("os-server-groups:index", lists="server_group", others=False)
    group = {"server_group": {"name": "new", "policy": "affinity"}}
    yield f"POST {groups}", Line("os-server-groups:create", group, others=False)
    yield f"GET {groups}/{{server_group}}", Line("os-server-groups:show")
    yield f"DELETE {groups}/{{server_group}}", Line("os-server-groups:delete")
    paged = {"openstack-api-version": "compute 2.80"}
    yield f"GET {v2}/os-migrations", Line("os-migrations:index:all_projects", headers=paged, others=False)
    yield f"GET {v2}/extensions", Line("extensions")
    yield f"GET {v2}/extensions/{{compute_extension}}", Line("extensions")
    first = {"openstack-api-version": "compute 2.1"}
    for path, prefix, kind in (("os-volumes", "", "volume"), ("os-snapshots", "snapshots:", "volume_snapshot")):
        rule = f"os-volumes:{prefix}"
        yield f"GET {v2}/{path}", Line(f"{rule}list", headers=first, lists=kind, others=False)
        yield f"GET {v2}/{path}/detail", Line(f"{rule}detail", headers=first, lists=kind, others=False)
        body = {"volume": {"size": 1}} if kind == "volume" else {"snapshot": {"volume_id": "{volume}", "force": True}}
        yield f"POST {v2}/{path}", Line(f"{rule}create", body, headers=first, others=False)
        yield f"GET {v2}/{path}/{{{kind}}}", Line(f"{rule}show", headers=first)
        yield f"DELETE {v2}/{path}/{{{kind}}}", Line(f"{rule}delete", headers=first)
    for path in ("/images", "/images/detail"):
        yield f"GET {v2}{path}", Line("@get_images", headers=first, others=False)
    yield f"GET {v2}/images/{{image}}", Line("@get_image", headers=first)
    yield f"DELETE {v2}/images/{{image}}", Line("@delete_image", headers=first)
    properties = f"{v2}/images/{{image}}/metadata"
    yield f"GET {properties}", Line("@get_image", headers=first)
    yield f"GET {properties}/{{property}}", Line("@get_image", headers=first)
    for method in ("POST", "PUT"):
        yield f"{method} {properties}", Line("@modify_image", {"metadata": {"new": "x"}}, headers=first)
    yield f"PUT {properties}/{{property}}", Line("@modify_image", {"meta": {"colour": "blue"}}, headers=first)
    yield f"DELETE {properties}/{{property}}", Line("@modify_image", headers=first)
    security = f"{v2}/os-security-groups"
    named = {"security_group": {"name": "new", "description": ""}}
    yield f"GET {security}", Line("os-security-groups:get", lists="security_group", headers=first, others=False)
    yield f"POST {security}", Line("os-security-groups:create", named, headers=first, others=False)
    yield f"GET {security}/{{security_group}}", Line("os-security-groups:show", headers=first)
    yield f"PUT {security}/{{security_group}}", Line("os-security-groups:update", named, headers=first)
    yield f"DELETE {security}/{{security_group}}", Line("os-security-groups:delete", headers=first)
    rule = {"security_group_rule": {"parent_group_id": "{security_group}", "ip_protocol": "tcp", "from_port": 1,
                                    "to_port": 2, "cidr": "0.0.0.0/0"}}  # fmt: skip
    rules = f"{v2}/os-security-group-rules"
    yield f"POST {rules}", Line("os-security-groups:rule:create", rule, headers=first)
    yield f"DELETE {rules}/{{security_group_rule}}", Line("os-security-groups:rule:delete", headers=first)
    for name in ("os-networks", "os-tenant-networks"):
        yield f"GET {v2}/{name}", Line(f"{name}:list", headers=first, others=False)
        yield f"GET {v2}/{name}/{{network}}", Line(f"{name}:show", headers=first)
    floating = f"{v2}/os-floating-ips"
    yield f"GET {floating}", Line("os-floating-ips:list", headers=first, lists="floatingip", others=False)
    yield f"POST {floating}", Line("os-floating-ips:create", {"pool": "public"}, headers=first, others=False)
    yield f"GET {floating}/{{floatingip}}", Line("os-floating-ips:show", headers=first)
    yield f"DELETE {floating}/{{floatingip}}", Line("os-floating-ips:delete", headers=first)
    yield f"GET {v2}/os-floating-ip-pools", Line("os-floating-ip-pools", headers=first, others=False)


TABLE = dict(_table())


# --- the cloud --------------------------------------------------------------------------------------------------------


class Undone(Exception):
    """Ends a transaction that shall leave nothing."""


@dataclass
class Forgetting:
    """A database whose writes are undone once they are done, and answer what they would have answered."""

    inner: Database

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def submit(self, function: Callable[[Tx], T]) -> Future[T]:
        future: Future[T] = Future()

        def run(tx: Tx) -> None:
            result = function(tx)
            future.set_result(result)
            raise Undone

        def failed(done: Future[None]) -> None:
            if not future.done():
                error = done.exception()
                assert error is not None
                future.set_exception(error)

        self.inner.submit(run).add_done_callback(failed)
        return future

    def write(self, function: Callable[[Tx], T]) -> T:
        return self.submit(function).result()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Person:
    """Requests with one token."""

    app: App
    token: str = ""

    @property
    def cloud(self) -> Parts:
        return self.app.parts

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        return asyncio.run(self._ask(method, path, body, headers or {}))

    async def _ask(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        parts = urlsplit(path)
        names = {"host": "cloud.test:5000", "x-auth-token": self.token, "content-length": str(len(raw)),
                 "openstack-api-version": "compute 2.90, volume 3.71, placement 1.39", **headers}  # fmt: skip
        if raw:
            names.setdefault("content-type", "application/json")
        scope = {
            "type": "http", "method": method, "path": parts.path, "query_string": parts.query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in names.items()], "scheme": "http",
            "server": ("127.0.0.1", 5000), "client": ("127.0.0.1", 1),
        }  # fmt: skip
        waiting = [{"type": "http.request", "body": raw, "more_body": False}]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return waiting.pop(0) if waiting else {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:]))

    def make(self, path: str, kind: str, /, **values: Any) -> Any:
        answer = self.ask("POST", path, {kind: values} if kind else values)
        assert answer.status < 300, (path, answer.status, answer.body)
        return answer.json[kind] if kind else answer.json

    def put(self, path: str, body: Any = None) -> None:
        answer = self.ask("PUT", path, body)
        assert answer.status < 300, (path, answer.status, answer.body)

    def login(self, user_id: str, scope: Any) -> Person:
        auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": {"id": user_id}}}}
        auth["identity"]["password"]["user"]["password"] = "secret"
        answer = self.ask("POST", "/identity/v3/auth/tokens", {"auth": {**auth, "scope": scope}})
        assert answer.status == 201, answer.body
        return replace(self, token=answer.headers["x-subject-token"])


@dataclass(frozen=True)
class World:
    forgetful: App
    people: dict[str, Person]
    own: dict[str, str]
    other: dict[str, str]


def _answering(admin: Person, owner: Person) -> dict[str, str]:
    """A router that answers outside for a port, and another port that it may answer for."""
    v2 = "/network/v2.0"
    scope = owner.make(f"{v2}/address-scopes", "address_scope", name="six", ip_version=6)["id"]
    pool = owner.make(
        f"{v2}/subnetpools", "subnetpool", name="six", prefixes=["fd00:5::/48"], default_prefixlen=64,
        address_scope_id=scope,
    )["id"]  # fmt: skip
    outside = admin.make(f"{v2}/networks", "network", **{"router:external": True, "name": "six"})["id"]
    admin.make(f"{v2}/subnets", "subnet", network_id=outside, ip_version=6, subnetpool_id=pool)
    inside = owner.make(f"{v2}/networks", "network", name="six")["id"]
    subnet = owner.make(f"{v2}/subnets", "subnet", network_id=inside, ip_version=6, subnetpool_id=pool)["id"]
    gateway = {"network_id": outside}
    router = owner.make(f"{v2}/routers", "router", name="six", external_gateway_info=gateway, enable_ndp_proxy=True)[
        "id"
    ]
    owner.put(f"{v2}/routers/{router}/add_router_interface", {"subnet_id": subnet})
    ports = [owner.make(f"{v2}/ports", "port", network_id=inside)["id"] for _ in range(2)]
    proxy = owner.make(f"{v2}/ndp_proxies", "ndp_proxy", router_id=router, port_id=ports[0])["id"]
    return {"answering": router, "unanswered": ports[1], "ndp_proxy": proxy}


def possess(admin: Person, name: str) -> tuple[dict[str, str], dict[str, str]]:
    """A domain with a project, and one object of every kind in it; and the ids of the global roles."""
    v3 = "/identity/v3"
    ids: dict[str, str] = {"tag": "t", "key": "k", "property": "colour", "image_member": "6" * 32,
                           "image_store": "one",
                           "extension": "router", "compute_extension": "os-flavor-access",
                           "option_group": "identity", "option": "driver"}  # fmt: skip
    roles = {role["name"]: role["id"] for role in admin.ask("GET", f"{v3}/roles").json["roles"]}
    ids["member"] = roles["member"]
    ids["domain"] = admin.make(f"{v3}/domains", "domain", name=name)["id"]
    admin.ask("PUT", f"{v3}/domains/{ids['domain']}/config", {"config": {"identity": {"driver": "sql"}}})
    ids["closed_domain"] = admin.make(f"{v3}/domains", "domain", name=f"{name}, closed", enabled=False)["id"]
    in_domain = {"domain_id": ids["domain"]}
    ids["project"] = admin.make(f"{v3}/projects", "project", name="p", tags=["t"], **in_domain)["id"]
    ids["user"] = admin.make(f"{v3}/users", "user", name="owner", password="secret", **in_domain)["id"]
    ids["group"] = admin.make(f"{v3}/groups", "group", name="g", **in_domain)["id"]
    admin.put(f"{v3}/groups/{ids['group']}/users/{ids['user']}")
    for actor in ("user", "group"):
        for place, tail in ((f"projects/{ids['project']}", ""), (f"domains/{ids['domain']}", ""), ("system", ""),
                            (f"OS-INHERIT/projects/{ids['project']}", "/inherited_to_projects"),
                            (f"OS-INHERIT/domains/{ids['domain']}", "/inherited_to_projects")):  # fmt: skip
            admin.put(f"{v3}/{place}/{actor}s/{ids[actor]}/roles/{ids['member']}{tail}")
    ids["role"] = admin.make(f"{v3}/roles", "role", name=f"role-{name}")["id"]
    ids["prior"] = admin.make(f"{v3}/roles", "role", name=f"prior-{name}")["id"]
    admin.put(f"{v3}/roles/{ids['prior']}/implies/{ids['role']}")
    ids["service"] = admin.make(f"{v3}/services", "service", name=name, type="t")["id"]
    ids["region"] = admin.make(f"{v3}/regions", "region", id=f"region-{name}")["id"]
    ids["endpoint"] = admin.make(
        f"{v3}/endpoints", "endpoint", service_id=ids["service"], interface="admin", url="http://h"
    )["id"]
    owner = admin.login(ids["user"], {"project": {"id": ids["project"]}})
    ids["token"] = owner.token
    ids["credential"] = owner.make(f"{v3}/credentials", "credential", type="cert", blob="x", user_id=ids["user"])["id"]
    own = f"{v3}/users/{ids['user']}/application_credentials"
    ids["application_credential"] = owner.make(own, "application_credential", name="c")["id"]
    group = {"name": name, "filters": {"service_id": ids["service"]}}
    ids["endpoint_group"] = admin.make(f"{v3}/OS-EP-FILTER/endpoint_groups", "endpoint_group", **group)["id"]
    admin.put(f"{v3}/OS-EP-FILTER/endpoint_groups/{ids['endpoint_group']}/projects/{ids['project']}")
    admin.put(f"{v3}/OS-EP-FILTER/projects/{ids['project']}/endpoints/{ids['endpoint']}")
    thing = {"service_id": ids["service"], "resource_name": "thing"}
    named = [{**thing, "default_limit": 5}, {**thing, "resource_name": "other", "default_limit": 5}]
    made = admin.ask("POST", f"{v3}/registered_limits", {"registered_limits": named}).json["registered_limits"]
    ids["unused_limit"] = made[1]["id"]
    told = [{**thing, "resource_limit": 7, "project_id": ids["project"]}]
    ids["limit"] = admin.ask("POST", f"{v3}/limits", {"limits": told}).json["limits"][0]["id"]
    keys = f"{v3}/users/{ids['user']}/credentials/OS-EC2"
    ids["ec2_key"] = owner.ask("POST", keys, {"tenant_id": ids["project"]}).json["credential"]["access"]
    ids["trust"] = owner.make(
        f"{v3}/OS-TRUST/trusts", "trust", trustor_user_id=ids["user"], trustee_user_id=ids["user"], impersonation=False,
        project_id=ids["project"], roles=[{"name": "member"}],
    )["id"]  # fmt: skip
    # A rule that nothing names, so that it may go.
    rules = [{"service": "compute", "method": "GET", "path": "/v2.1/servers"}]
    bound = owner.make(own, "application_credential", name="bound", access_rules=rules)
    ids["access_rule"] = bound["access_rules"][0]["id"]
    assert owner.ask("DELETE", f"{own}/{bound['id']}").status == 204

    v2 = "/network/v2.0"
    (public,) = admin.ask("GET", f"{v2}/networks?name=public").json["networks"]
    ids["public"] = public["id"]

    def make(collection: str, kind: str, /, **values: Any) -> str:
        ids[kind] = owner.make(f"{v2}/{collection}", kind, **values)["id"]
        if kind not in ("address_scope", "address_group", "rbac_policy"):
            owner.put(f"{v2}/{collection}/{ids[kind]}/tags/t")
        return ids[kind]

    net = make("networks", "network", name="net")
    ids["network_name"] = "net"
    subnet = make("subnets", "subnet", network_id=net, ip_version=4, cidr="10.1.0.0/24")
    make("ports", "port", network_id=net)
    parent = owner.make(f"{v2}/ports", "port", network_id=net)["id"]
    make("trunks", "trunk", port_id=parent)
    ids["free_port"] = owner.make(f"{v2}/ports", "port", network_id=net)["id"]
    router = make("routers", "router", external_gateway_info={"network_id": ids["public"]})
    make("floatingips", "floatingip", floating_network_id=ids["public"])
    group = make("security-groups", "security_group", name="sg")
    make("security-group-rules", "security_group_rule", security_group_id=group, direction="ingress", protocol="udp")
    make("subnetpools", "subnetpool", name="pool", prefixes=["10.2.0.0/16"])
    make("address-scopes", "address_scope", name="scope", ip_version=4)
    make("address-groups", "address_group", name="addresses", addresses=["10.0.0.0/8"])
    shared = {"object_type": "security_group", "object_id": group, "action": "access_as_shared"}
    make("rbac-policies", "rbac_policy", target_tenant="9" * 32, **shared)
    wanted = {"network_id": net, "network_type": "vxlan"}
    ids["segment"] = admin.make(f"{v2}/segments", "segment", **wanted)["id"]
    # The owner is a member, and policies are for managers.
    policy = {"name": "qos", "project_id": ids["project"]}
    ids["qos_policy"] = admin.make(f"{v2}/qos/policies", "policy", **policy)["id"]
    admin.put(f"{v2}/policies/{ids['qos_policy']}/tags/t")
    rules = {"bandwidth_limit_rule": {"max_kbps": 1000}, "dscp_marking_rule": {"dscp_mark": 26}}
    rules |= {"packet_rate_limit_rule": {"max_kpps": 10}, "minimum_bandwidth_rule": {"min_kbps": 10}}
    for kind, values in {**rules, "minimum_packet_rate_rule": {"min_kpps": 10}}.items():
        ids[kind] = admin.make(f"{v2}/qos/policies/{ids['qos_policy']}/{kind}s", kind, **values)["id"]
    ids["rule_type"] = "dscp_marking"
    metering = {"name": "counted", "project_id": ids["project"]}
    ids["metering_label"] = admin.make(f"{v2}/metering/metering-labels", "metering_label", **metering)["id"]
    metering = {"metering_label_id": ids["metering_label"], "direction": "egress", "remote_ip_prefix": "10.0.0.0/8"}
    ids["metering_label_rule"] = admin.make(f"{v2}/metering/metering-label-rules", "metering_label_rule", **metering)[
        "id"
    ]
    log = {"resource_type": "security_group", "project_id": ids["project"]}
    ids["log"], ids["loggable"] = admin.make(f"{v2}/log/logs", "log", **log)["id"], "security_group"
    templates = admin.ask("GET", f"{v2}/default-security-group-rules").json["default_security_group_rules"]
    ids["default_security_group_rule"] = templates[0]["id"]
    kind = "security_groups_default_statefulness"
    settings = f"{v2}/security-groups-default-statefulness"
    ids[kind] = admin.make(settings, kind, project_id=ids["project"])["id"]
    ids["network_flavor"] = admin.make(f"{v2}/flavors", "flavor", service_type="L3_ROUTER_NAT")["id"]
    for kind in ("service_profile", "used_profile"):
        ids[kind] = admin.make(f"{v2}/service_profiles", "service_profile", metainfo=kind)["id"]
    used = {"service_profile": {"id": ids["used_profile"]}}
    assert admin.ask("POST", f"{v2}/flavors/{ids['network_flavor']}/service_profiles", used).status == 201
    agents = admin.ask("GET", f"{v2}/agents").json["agents"]
    for key, of in (("dhcp_agent", "DHCP agent"), ("l3_agent", "L3 agent")):
        ids[key] = next(each["id"] for each in agents if each["agent_type"] == of)
    ids["unserved_network"] = admin.make(f"{v2}/networks", "network", name="unserved")["id"]
    ids.update(agent=agents[0]["id"], zone="nova", service_provider="single_node")
    owner.put(f"{v2}/routers/{router}/add_router_interface", {"subnet_id": subnet})
    port = owner.ask("GET", f"{v2}/ports/{ids['port']}").json["port"]
    ids["port_address"] = port["fixed_ips"][0]["ip_address"]
    ids["port_forwarding"] = owner.make(
        f"{v2}/floatingips/{ids['floatingip']}/port_forwardings", "port_forwarding", internal_port_id=ids["port"],
        internal_ip_address=ids["port_address"], protocol="tcp", external_port=80, internal_port=80,
    )["id"]  # fmt: skip
    ids.update(_answering(admin, owner))
    ids["conntrack_helper"] = owner.make(
        f"{v2}/routers/{router}/conntrack_helpers", "conntrack_helper", protocol="udp", port=69, helper="tftp"
    )["id"]
    ids["local_ip"] = owner.make(f"{v2}/local_ips", "local_ip", network_id=net)["id"]
    for key in ("led_port", "unled_port"):
        ids[key] = owner.make(f"{v2}/ports", "port", network_id=net)["id"]
    led = {"port_association": {"fixed_port_id": ids["led_port"]}}
    assert owner.ask("POST", f"{v2}/local_ips/{ids['local_ip']}/port_associations", led).status == 201
    admin.put(f"{v2}/quotas/{ids['project']}", {"quota": {"network": 50}})

    ids["bare_image"] = owner.make("/image/v2/images", "", name="bare", visibility="private")["id"]
    ids["image"] = owner.make(
        "/image/v2/images",
        "",
        name="i",
        disk_format="raw",
        container_format="bare",
        visibility="private",
        tags=["t"],
        colour="red",
    )["id"]
    data = {"content-type": "application/octet-stream"}
    assert owner.ask("PUT", f"/image/v2/images/{ids['image']}/file", b"data" * 200, data).status == 204
    renamed = [{"op": "replace", "path": "/visibility", "value": "shared"}]
    patch = {"content-type": "application/openstack-images-v2.1-json-patch"}
    assert owner.ask("PATCH", f"/image/v2/images/{ids['image']}", renamed, patch).status == 200
    owner.make(f"/image/v2/images/{ids['image']}/members", "", member=ids["image_member"])
    staged = owner.make("/image/v2/images", "", name="staged", disk_format="raw", container_format="bare")["id"]
    assert owner.ask("PUT", f"/image/v2/images/{staged}/stage", b"data", data).status == 204
    direct = {"method": {"name": "glance-direct"}}
    assert owner.ask("POST", f"/image/v2/images/{staged}/import", direct).status == 202
    ids["metadef"], ids["namespace"] = "m", f"words-of-{name}"
    admin.make(
        "/image/v2/metadefs/namespaces", "", namespace=ids["namespace"], owner=ids["project"], visibility="private",
        objects=[{"name": "m"}], tags=[{"name": "m"}], properties={"m": {"title": "m", "type": "string"}},
        resource_type_associations=[{"name": "m"}],
    )  # fmt: skip
    ids["task"] = owner.ask("GET", f"/image/v2/images/{staged}/tasks").json["tasks"][0]["id"]

    ids.update(
        custom_class="CUSTOM_CLASS", custom_trait="CUSTOM_TRAIT", nobody=str(uuid4()), consumer=str(uuid4()),
        stock="DISK_GB",
    )  # fmt: skip
    admin.put(f"/placement/resource_classes/{ids['custom_class']}")
    admin.put(f"/placement/traits/{ids['custom_trait']}")
    ids["provider"] = admin.make("/placement/resource_providers", "", name=name)["uuid"]
    stock = {"resource_class": ids["stock"], "total": 9}
    admin.make(f"/placement/resource_providers/{ids['provider']}/inventories", "", **stock)
    shared = admin.make("/placement/resource_providers", "", name=f"{name}, taken")["uuid"]
    admin.make(f"/placement/resource_providers/{shared}/inventories", "", resource_class="DISK_GB", total=9)
    taken = {"allocations": {shared: {"resources": {"DISK_GB": 1}}}, "project_id": ids["project"], "user_id": "u"}
    admin.put(f"/placement/allocations/{ids['consumer']}",
              {**taken, "consumer_generation": None, "consumer_type": "TEST"})  # fmt: skip

    cinder = "/volume/v3"
    ids.update(
        backend="aio@file",
        quota_class="default",
        volume_extension="qos-specs",
        service_action="enable",
        cluster_action="enable",
        service_host="aio@file",
    )
    kind = admin.make(f"{cinder}/types", "volume_type", name=name, extra_specs={"multiattach": "<is> False"})
    ids["volume_type"], ids["visible_spec"] = kind["id"], "multiattach"
    closed = {"name": f"{name}, closed", "os-volume-type-access:is_public": False}
    ids["closed_type"] = admin.make(f"{cinder}/types", "volume_type", **closed)["id"]
    ids["qos_specs"] = admin.make(f"{cinder}/qos-specs", "qos_specs", name=name)["id"]
    admin.put(f"{cinder}/os-quota-sets/{ids['project']}", {"quota_set": {"volumes": 20}})
    admin.put(f"{cinder}/os-quota-class-sets/{name}", {"quota_class_set": {"volumes": 20}})
    admin.put(f"{cinder}/default-types/{ids['project']}", {"default_type": {"volume_type": kind["id"]}})
    project = ids["project"]
    admin.cloud.database.write(lambda tx: messages.tell(tx, project, messages.NO_BACKEND, project))
    message, *_ = owner.ask("GET", f"{cinder}/messages").json["messages"]
    ids["volume_message"] = message["id"]

    ids["volume"] = owner.make(f"{cinder}/volumes", "volume", size=1, name="v", metadata={"k": "v"})["id"]
    offered, held, taken, saved = (owner.make(f"{cinder}/volumes", "volume", size=1)["id"] for _ in range(4))
    ids["saved_volume"] = saved

    def keep(tx: Tx) -> None:
        there = {"status": "available", "host": "aio", "task": None}
        made = volume_tables.volumes.c.id.in_((ids["volume"], offered, held, taken, saved))
        tx.execute(update(volume_tables.volumes).where(made).values(there))

    admin.cloud.database.write(keep)
    snapshot = owner.make(f"{cinder}/snapshots", "snapshot", volume_id=ids["volume"], metadata={"k": "v"})
    ids["volume_snapshot"] = snapshot["id"]
    specs = {"group_specs": {"k": "v"}}
    for kind, is_public in (("group_type", True), ("closed_group_type", False)):
        named = {"name": f"{name} {kind}", "is_public": is_public, **(specs if not is_public else {})}
        ids[kind] = admin.make(f"{cinder}/group_types", "group_type", **named)["id"]
    of_types = {"group_type": ids["group_type"], "volume_types": [ids["volume_type"]]}
    ids["volume_group"] = owner.make(f"{cinder}/groups", "group", **of_types)["id"]
    groups = volume_tables.groups
    is_made = update(groups).where(groups.c.id == ids["volume_group"]).values(status="available", host="aio")
    admin.cloud.database.write(lambda tx: tx.execute(is_made))
    inside = {"size": 1, "volume_type": ids["volume_type"], "group_id": ids["volume_group"]}
    ids["grouped_volume"] = owner.make(f"{cinder}/volumes", "volume", **inside)["id"]
    grouped_table = volume_tables.volumes
    there = {"status": "available", "host": "aio", "task": None}
    admin.cloud.database.write(
        lambda tx: tx.execute(update(grouped_table).where(grouped_table.c.id == ids["grouped_volume"]).values(there))
    )
    of_group = {"group_id": ids["volume_group"]}
    ids["group_snapshot"] = owner.make(f"{cinder}/group_snapshots", "group_snapshot", **of_group)["id"]
    saved_groups = volume_tables.group_snapshots
    admin.cloud.database.write(
        lambda tx: tx.execute(
            update(saved_groups).where(saved_groups.c.id == ids["group_snapshot"]).values(status="available")
        )
    )
    ids["backup"] = owner.make(f"{cinder}/backups", "backup", volume_id=ids["saved_volume"])["id"]

    def save(tx: Tx) -> None:
        for table in (volume_tables.volumes, volume_tables.backups):
            made = table.c.id.in_((ids["saved_volume"], ids["backup"]))
            tx.execute(update(table).where(made).values(status="available", task=None))

    admin.cloud.database.write(save)
    ids["volume_transfer"] = owner.make(f"{cinder}/os-volume-transfer", "transfer", volume_id=offered)["id"]

    attachment = owner.make(f"{cinder}/attachments", "attachment", volume_uuid=taken)
    ids["volume_attachment"], ids["held_volume"] = attachment["id"], held

    nova = "/compute/v2.1"
    # No host has such a disk: the server is in ERROR at once.
    ids["flavor"] = admin.make(f"{nova}/flavors", "flavor", name=name, ram=64, vcpus=1, disk=2**24)["id"]
    specs = {"extra_specs": {"k": "v"}}
    assert admin.ask("POST", f"{nova}/flavors/{ids['flavor']}/os-extra_specs", specs).status == 200
    private = {"name": f"{name}, private", "ram": 64, "vcpus": 1, "disk": 1, "os-flavor-access:is_public": False}
    ids["private_flavor"] = admin.make(f"{nova}/flavors", "flavor", **private)["id"]
    ids["keypair"] = owner.make(f"{nova}/os-keypairs", "keypair", name="key", public_key=KEY)["name"]
    ids["server_group"] = owner.make(f"{nova}/os-server-groups", "server_group", name="g", policy="affinity")["id"]
    ids["server"] = owner.make(
        f"{nova}/servers", "server", name="s", imageRef=ids["image"], flavorRef=ids["flavor"],
        networks=[{"port": ids["port"]}], metadata={"k": "v"}, tags=["t"],
    )["id"]  # fmt: skip
    actions = owner.ask("GET", f"{nova}/servers/{ids['server']}/os-instance-actions").json["instanceActions"]
    ids["request"] = actions[0]["request_id"]
    # It has no host, and so neither interface nor volume: it is given them.
    ids["server_port"] = owner.make(f"{v2}/ports", "port", network_id=net)["id"]

    def plug(tx: Tx) -> None:
        nic = {"nics": [{"port_id": ids["server_port"], "owned": False}]}
        tx.execute(update(servers).where(servers.c.id == ids["server"]).values(nic))
        used = {"device_id": ids["server"], "device_owner": "compute:nova"}
        tx.execute(update(ports).where(ports.c.id == ids["server_port"]).values(used))
        waiting = {"vnic_type": "normal", "profile": {}, "vif_type": "ovs", "vif_details": {}}
        tx.insert(port_bindings, {"port_id": ids["server_port"], "host": "aio", **waiting})
        ids["binding"] = "aio"
        asked = Caller("nobody", "nobody", "default", frozenset(), project_id="nobody")
        migrations.begin(tx, asked, ids["server"], migrations.LIVE, "aio", "aio", "running")
        live = migrations.newest(tx, ids["server"])
        ids["live_migration"] = "none" if live is None else str(live.number)
        volume = kinds.find(tx, VOLUME, held)
        kept = attachments.reserve(tx, volume, ids["server"])
        block_devices.add(tx, ids["server"], volume, kept["id"], "/dev/vdb")

    admin.cloud.database.write(plug)
    (service, *_) = admin.ask("GET", f"{nova}/os-services").json["services"]
    ids["host_service"] = service["id"]
    hypervisors = admin.ask("GET", f"{nova}/os-hypervisors").json["hypervisors"]
    ids["hypervisor"] = hypervisors[0]["id"] if hypervisors else "none"
    ids["moment"] = "2026-01-01 00:00:00"
    aggregate = admin.ask("POST", f"{nova}/os-aggregates", {"aggregate": {"name": f"of {name}"}}).json["aggregate"]
    ids["aggregate"] = str(aggregate["id"])
    ids["compute_host"] = hypervisors[0]["hypervisor_hostname"] if hypervisors else "none"
    return ids, roles


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("cloud")
    settings = Settings(
        state_dir=str(folder), port=5000, socket=str(folder / "s"), admin_password="secret", demo_password="secret",
        hosts={"aio": HostEntry(token="t")}, operator=Operator(image=ImageOptions(stores={"one": ImageStore()})),
    )  # fmt: skip
    cloud, app = build(settings)
    host = Hello(
        host="aio", roles=("network", "compute", "storage"), vcpus=4, memory_mib=4096, disk_gib=10,
        volume_backends=(backend(total_gib=10),),
    )  # fmt: skip
    cloud.database.write(lambda tx: registry.greet(tx, host))
    nobody = Person(app)
    name = {"user": {"name": "admin", "domain": {"id": "default"}, "password": "secret"}}
    scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
    auth = {"identity": {"methods": ["password"], "password": name}, "scope": scope}
    answer = nobody.ask("POST", "/identity/v3/auth/tokens", {"auth": auth})
    admin = replace(nobody, token=answer.headers["x-subject-token"])
    own, roles = possess(admin, "own")
    other, _ = possess(admin, "other")
    forgetful = App(replace(cloud, database=cast(Database, Forgetting(cloud.database))), tuple(SERVICES.values()))
    folk: dict[str, Person] = {}
    for persona in people.PERSONAS:
        user = admin.make(
            "/identity/v3/users", "user", name=persona.name, password="secret", domain_id=own["domain"]
        )["id"]  # fmt: skip
        scopes: dict[str, tuple[str, Any]] = {
            "system": ("system", {"system": {"all": True}}),
            "domain": (f"domains/{own['domain']}", {"domain": {"id": own["domain"]}}),
            "project": (f"projects/{own['project']}", {"project": {"id": own["project"]}}),
        }
        place, asked = scopes[persona.scope]
        if persona.role:
            admin.put(f"/identity/v3/{place}/users/{user}/roles/{roles[persona.role]}")
        folk[persona.name] = replace(admin.login(user, asked if persona.role else "unscoped"), app=forgetful)
    yield World(forgetful, folk, own, other)
    cloud.database.close()


# --- the tests --------------------------------------------------------------------------------------------------------


def _shape(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path)


def routes() -> list[str]:
    """Every route that asks for a token; of two roots with one set of handlers, one."""
    return [
        f"{route.method} {service.prefix}{route.path}"
        for service in SERVICES.values()
        for route in service.routes()
        if route.auth and not route.path.startswith("/v2/servers") and not _is_legacy(service.name, route.path)
    ]


def _is_legacy(service: str, path: str) -> bool:
    same = {"compute": ("/v2/", "/v2.1/os-volumes_boot"), "volume": ("/v3/{project_id}",)}
    return path.startswith(same.get(service, ()))


def test_every_route_has_a_line_and_every_line_a_route() -> None:
    there, lines = {_shape(route) for route in routes()}, {_shape(line) for line in TABLE}
    assert there - lines == set(), "a route that no persona was sent to"
    assert lines - there == set(), "a line about a route that is not there"


def _expected(service: str, line: Line, persona: str, variant: str) -> bool:
    if line.rule is None:
        return True
    rule = line.rule.removeprefix("@")
    full = {
        "identity": f"identity:{rule}",
        "compute": rule if rule.startswith("compute:") else f"os_compute_api:{rule}",
    }.get(service, rule)
    of = "image" if line.rule.startswith("@") else service
    if of == "image":
        full = rule
    deviates = any(known(full, each) for each in differences_of(of, full) if each.startswith(f"{persona}:"))
    answers = our_answers_of(of, full) if deviates else real_answers(of)[full]
    return persona in answers.get(variant, ())


_DIFFERENCES: dict[str, set[str]] = {}
_OURS: dict[str, dict[str, list[str]]] = {}


def differences_of(service: str, rule: str) -> set[str]:
    if rule not in _DIFFERENCES:
        _DIFFERENCES[rule] = differences(service, rule)
    return _DIFFERENCES[rule]


def our_answers_of(service: str, rule: str) -> dict[str, list[str]]:
    if rule not in _OURS:
        _OURS[rule] = our_answers(service, rule)
    return _OURS[rule]


def filled(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda found: ids[found[1]], value)
    if isinstance(value, dict):
        return {filled(name, ids): filled(item, ids) for name, item in value.items()}
    if isinstance(value, list):
        return [filled(item, ids) for item in value]
    return value


@pytest.mark.parametrize("where", ["own", "other"])
@pytest.mark.parametrize("line", TABLE)
def test_a_route_lets_through_whom_the_real_service_lets_through(world: World, line: str, where: str) -> None:
    about = TABLE[line]
    if where == "other" and not about.others:
        return
    method, _, path = line.partition(" ")
    service = path.split("/")[1]
    ids = world.own if where == "own" else world.other
    variant = where
    if service == "compute" and where == "own":
        variant = "own, another user's"
    target = filled(path + (f"?{about.query}" if about.query else ""), ids)
    wrong: dict[str, str] = {}
    for name, person in world.people.items():
        answer = person.ask(method, target, filled(about.body, ids), filled(about.headers, ids))
        assert answer.status < 500 or answer.status == 501, answer.body
        let = answer.status != 401 and answer.status not in about.refused
        if about.lists is not None:
            let = let and ids[about.lists].encode() in answer.body
        expected = _expected(service, about, name, variant) or (where == "own" and name in about.also)
        if let != expected:
            wrong[name] = f"{answer.status} {'let through' if let else 'refused'}"
    assert wrong == {}
