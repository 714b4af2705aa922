"""Why an answer of ours differs from Neutron's where it does, and is to stay so or waits for something larger."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """Patterns of steps, of places, and of what is there and here, each of the whole text."""

    why: str
    places: str
    steps: str = ".*"
    there: str = ".*"
    here: str = ".*"
    users: str = ".*"
    bodies: str = ".*"
    """Of what was sent to Neutron, as JSON."""
    queries: str = ".*"

    def explains(
        self,
        step: str,
        place: str,
        there: str = "",
        here: str = "",
        user: str = "",
        body: str = "null",
        query: str = "",
    ) -> bool:
        told = (
            (self.places, place),
            (self.steps, step),
            (self.there, there),
            (self.here, here),
            (self.users, user),
            (self.bodies, body),
            (self.queries, query),
        )
        return all(re.fullmatch(pattern, text) for pattern, text in told)


RECORDED = (
    Reason("The recorded cloud had no QoS", r"extensions\.(qos|port-resource-request)[\w-]*", "extensions"),
    Reason("The recorded cloud had no metering", r"extensions\.metering\w*", "extensions"),
    Reason(
        "The recorded cloud had no port forwarding",
        r"extensions\.(floating-ip-port-forwarding|expose-port-forwarding-in-fip)[\w-]*",
        "extensions",
    ),
    Reason("The recorded cloud had no NDP proxies", r"extensions\.l3-(ext-)?ndp-proxy", "extensions"),
    Reason("The recorded cloud had no conntrack helpers", r"extensions\.(expose-)?l3-conntrack-helper", "extensions"),
    Reason("The recorded cloud had no DNS", r"extensions\.(dns-[\w-]+|subnet-dns-publish-fixed-ip)", "extensions"),
    Reason("The recorded cloud had no local IPs", r"extensions\.local_ip", "extensions"),
    Reason("The recorded cloud had no logs of security groups", r"extensions\.logging", "extensions"),
    Reason("The recorded cloud had no trunks", r"extensions\.trunk[\w-]*|quota\.trunk", "extensions|quota.*"),
    Reason("The recorded cloud made no ports with tags", r"extensions\.tag-ports-during-bulk-creation", "extensions"),
    Reason(
        "The recorded cloud had no segments as objects",
        r"extensions\.(segment[\w-]*|standard-attr-segment|subnet-segmentid-writable|ip_allocation|l2_adjacency)",
        "extensions",
    ),
    Reason(
        "The recorded cloud had no segments as objects",
        r".*\b(segment_id|ip_allocation|l2_adjacency)",
    ),
    Reason("The recorded cloud had no segments as objects", r"ports\.\*", "uc1-port-list-page"),
    Reason("Neutron names what has tags in any order", r"extensions\.standard-attr-tag\.name", "extensions"),
    Reason(
        "An agent tells how its own process is set up; ours is one process, which does the metadata agent's work too",
        r"agents\.neutron-[\w-]+(\.configurations\..*)?",
    ),
    Reason(
        "The recorded cloud had these quotas turned off in a file; ours has Neutron's own defaults",
        r"quota\..*",
        "quota-default",
    ),
    Reason("No agent runs in this comparison that would plug the port in and say so", r".*\.status"),
    Reason("Neutron draws a segment by chance, ours takes the lowest free one", r"network\.provider:segmentation_id"),
    Reason(
        "Inside a group, Neutron shows of a rule the number of its row and leaves out what the rule shows by itself",
        r".*security_group_rules\.\*\.(standard_attr_id|belongs_to_default_sg|description)",
    ),
    Reason(
        "Neutron leaves the tags out of the answer to a new rule, and shows them from then on",
        r"security_group_rule\.tags",
    ),
    Reason(
        "Neutron's agent binds the port of a gateway after the answer, ours is bound with it",
        r"ports\.\*\.binding:.*",
        "uc4-gateway-port",
    ),
    Reason("Neutron answers 500 to a mistake of the caller", "status", "bad-pool-cidr-not-in"),
    Reason("Neutron lists this quota and counts nothing for it", r"quota\.router_route\.used", "quota-details"),
    Reason("Of a subnet that no recorded request made", r"network\.subnets\.\*", "bad-segmentation-change-in-use"),
    Reason("A refused DELETE of the external network had released Neutron's floating IP", "status", "del-fip2"),
    Reason(
        "Neutron writes a row several times while it binds a port, and shows a subnet before its last write; here each "
        "request that changes something is one revision",
        r".*\brevision_number",
    ),
)
"""Of differences in the recorded conversation; the first that explains one is it."""

_NO_WHOLE_NUMBER = (
    r'.*"(mtu|provider:segmentation_id|ip_version|prefixlen|\w+_prefixlen|default_quota|port_range_m(in|ax)|dscp_mark'
    r'|max_kbps|max_burst_kbps|(in|ex)ternal_port|port)": (1\.5|true|false).*'
)

GENERATED: tuple[Reason, ...] = (
    Reason(
        "Neutron writes a row several times in one request; here each request that changes something is one revision",
        r".*\brevision_number",
    ),
    Reason(
        "Neutron draws a segment by chance, ours takes the lowest free one",
        r"(.*provider:|segments?\.(\*\.)?)segmentation_id",
    ),
    Reason(
        "Inside a group, Neutron shows of a rule the number of its row and leaves out what the rule shows by itself",
        r".*security_group_rules\.\*\.(standard_attr_id|belongs_to_default_sg|description)",
    ),
    Reason(
        "Neutron leaves the tags out of the answer to a new rule, and of the rules that a group begins with",
        r"security_group_rules?\.(\*\.)?tags",
    ),
    Reason(
        "A quota of subnet pools holds here and is open in Neutron",
        r"quotas?\.(\*\.)?subnetpool(\.limit)?",
        there="-1",
        here="100",
    ),
    Reason(
        "Neutron fails where the object is not there that tags, a service profile or a binding are for",
        "status",
        r"\w+ ([\w-]+/\{\}/tags.*|flavors/\{\}/service_profiles|ports/\{\}/bindings)",
        '"500 HTTPInternalServerError"',
        r'"404 \w+NotFound"',
    ),
    Reason(
        "Neutron fails on the body of an action that does not hold what it is about",
        "status",
        r"PUT [\w-]+/\{\}/\w+",
        '"500 HTTPInternalServerError"',
        '"400 (HTTP)?BadRequest"',
    ),
    Reason(
        "Neutron fails to refuse a metering rule without one prefix",
        "status",
        "POST metering/metering-label-rules",
        '"500 Invalid"',
        '"400 Invalid"',
    ),
    Reason(
        "Neutron fails to ask who may delete a metering rule, or see some fields of it",
        "status",
        r"(GET|DELETE) metering/metering-label-rules/\{\}",
        '"500 PolicyCheckError"',
        '"404 MeteringLabelRuleNotFound"',
    ),
    Reason(
        "Neutron fails to show metering rules to who may not see some fields of one",
        "status",
        "GET metering/metering-label-rules",
        '"500 PolicyCheckError"',
        '"200"',
        "demo|manager|reader|other",
    ),
    Reason(
        "Neutron fails on a body of what activates a binding, which has none",
        "status",
        r"PUT ports/\{\}/bindings/\w+/activate",
        '"500 HTTPInternalServerError"',
        r'"(200|40[049] \w+)"',
        bodies=r"\{.*",
    ),
    Reason(
        "A pool's name is as long as any other: Neutron leaves that to its database, which then fails or does not look",
        r"status|NeutronError\.type",
        r"(POST|PUT) subnetpools.*",
        here='"(400 )?HTTPBadRequest"',
        bodies=r'.*"name": "x{256}".*',
    ),
    Reason(
        "No mechanism here knows a profile of a binding, which is refused",
        r"status|NeutronError\.type",
        r"POST ports/\{\}/bindings",
        here=r'"(400 )?HTTPBadRequest"',
        bodies=r'.*"profile": \{"a": 1\}.*',
    ),
    Reason(
        "Neutron fails to take in the subnets of what is no id of a network",
        "status",
        r"PUT subnetpools/\{\}/onboard_network_subnets",
        '"500 HTTPInternalServerError"',
        '"404 NetworkNotFound"',
        bodies=r'.*"network_id": [^"].*',
    ),
    Reason(
        "Neutron fails where the port is not there that a local IP is to lead to",
        "status",
        r"POST local_ips/\{\}/port_associations",
        '"500 HTTPInternalServerError"',
        '"400 BadRequest"',
    ),
    Reason(
        "Neutron fails on a prefix that is no text",
        "status",
        "(POST|PUT) subnets.*",
        '"500 HTTPInternalServerError"',
        r'"40[03] \w+"',
        bodies=r'.*"cidr": [^"].*',
    ),
    Reason(
        "Neutron fails to ask who may change a rule of QoS by its alias",
        "status",
        r"(PUT|DELETE) qos/alias_\w+/\{\}",
        '"500 PolicyCheckError"',
        r'"(20[04]|40[349] \w+)"',
        "demo|manager|reader|other",
    ),
    Reason(
        "Neutron fails to ask who may see or change rules of packets",
        "status",
        r"\w+ qos/policies/\{\}/(minimum_packet_rate|packet_rate_limit)_rules(/\{\})?( several)?",
        '"500( PolicyCheckError)?"',
        r'"(20[014]|40[349] \w+)"',
        "demo|manager|reader",
    ),
    Reason(
        "Neutron fails to ask who may see a rule of QoS by its alias",
        "status",
        r"GET qos/alias_\w+/\{\}",
        '"500"',
        '"200"',
        "demo|manager|reader",
    ),
    Reason(
        "Who may see neither is not told whether a rule of QoS or its policy is not there",
        r"NeutronError\.type",
        r"\w+ qos/alias_\w+/\{\}",
        '"QosPolicyNotFound"',
        '"QosRuleNotFound"',
        "demo|manager|reader|other",
    ),
    Reason(
        "What is no list of segments is refused as such: Neutron fails on it, or takes it for none",
        r"status|NeutronError\.type",
        r"(POST|PUT) networks.*",
        here='"(400 )?HTTPBadRequest"',
        bodies=r'.*"segments": ([^\[]|\[[^{\]]).*',
    ),
    Reason(
        "Neutron fails to ask who may take a service profile from a flavor",
        "status",
        r"DELETE flavors/\{\}/service_profiles/\{\}",
        '"500 PolicyCheckError"',
        '"403 PolicyNotAuthorized"',
    ),
    Reason(
        "A binding that no mechanism can make is refused; Neutron fails",
        "status",
        r"(POST ports/\{\}/bindings|PUT ports/\{\}/bindings/\w+/activate)",
        '"500 PortBindingError"',
        '"400 PortBindingError"',
    ),
    Reason(
        "What the caller must not know of is told as what is not there; Neutron's words of the two differ",
        r"NeutronError\.type",
        r"\w+ (service_profiles/\{\}|routers/\{\}/conntrack_helpers/\{\}|network-ip-availabilities/\{\}|segments/\{\})",
        '"HTTPNotFound"',
        r'"\w+NotFound"',
        "demo|manager|reader|other",
    ),
    Reason(
        "Who may not see bindings is not told whether there is one on a host",
        r"NeutronError\.type",
        r"\w+ ports/\{\}/bindings/\w+(/activate)?",
        '"PortBindingNotFound"',
        '"HTTPNotFound"',
        "demo|manager|reader|other",
    ),
    Reason(
        "A key of a subport that nothing reads is refused",
        "status",
        r"(PUT trunks/\{\}/(add|remove)_subports|POST trunks)",
        here=r'"400 (InvalidInput|HTTPBadRequest)"',
        bodies=r'.*"nosuch": 1.*',
    ),
    Reason(
        "What is no list of addresses is refused as such; Neutron takes it for one",
        r"status|NeutronError\.type",
        r"PUT address-groups/\{\}/(add|remove)_addresses",
        '"(200|AddrFormatError)"',
        '"(400 )?HTTPBadRequest"',
        bodies=r'\{"addresses": [^\[].*',
    ),
    Reason(
        "Neutron fails on a fixed IP of a PUT that says neither subnet nor address",
        "status",
        r"PUT ports/\{\}",
        '"500 HTTPInternalServerError"',
        '"400 InvalidInput"',
        bodies=r'.*"fixed_ips": \[.*\{\}.*',
    ),
    Reason(
        "The name of a host is a text: Neutron takes anything for one",
        r"status|NeutronError\.type",
        "(POST|PUT) ports.*",
        here='"(400 )?HTTPBadRequest"',
        bodies=r'.*"binding:host_id": [^"].*',
    ),
    Reason(
        "Neutron shows no policy of QoS that is shared when it is asked for fields, and finds any by is_default",
        r"policies(_links)?(\.\*.*| order)|status",
        r"GET qos/policies(/\{\})?",
        r'.*\{.*|.*\(.*|"404 HTTPNotFound"',
        r'.*\{.*|.*\(.*|"200"',
        queries=r".*\b(fields|is_default)=.*",
    ),
    Reason(
        "Neutron fails to share what is not there, or is of no kind that has a name",
        "status",
        "POST rbac-policies",
        '"500 HTTPInternalServerError"',
        '"(404 RbacPolicyNotFound|400 (InvalidInput|HTTPBadRequest))"',
    ),
    Reason(
        "What has no ports is not forwarded: Neutron takes it, and its agent fails",
        r"status|NeutronError\.type",
        r"(POST|PUT) floatingips/\{\}/port_forwardings(/\{\})?",
        here='"(400 )?HTTPBadRequest"',
        bodies=r'.*"protocol": "icmp".*',
    ),
    Reason(
        "Neutron fails on a type of service that is no text",
        "status",
        "POST flavors",
        '"500 HTTPInternalServerError"',
        '"400 InvalidServiceType"',
    ),
    Reason(
        "Who may only read makes no port on a shared network",
        "status",
        "POST ports",
        '"201"',
        '"403 PolicyNotAuthorized"',
        "reader",
    ),
    Reason(
        "Some fields of an address group have tenant_id beside them there",
        r"address_groups?\.(\*\.)?tenant_id",
        r"GET address-groups(/\{\})?",
        here=r"\(not there\)",
        queries=r".*\bfields=.*",
    ),
    Reason(
        "Keys by which no forwardings are sorted are told there when their floating IP was looked for",
        r"status|NeutronError\.type",
        r"GET floatingips/\{\}/port_forwardings",
        r'"(404 FloatingIPNotFound|BadRequest)"',
        r'"(400 )?HTTPBadRequest"',
        queries=r".*\bsort_key=(external_port|external_port_range|internal_port_id)\b.*",
    ),
    Reason(
        "An answer to extra routes holds there what Neutron keeps of a router for itself",
        r"router\.(enable_default_route_bfd|enable_default_route_ecmp|enable_snat|gw_port_id|ha|ha_vr_id|distributed)",
        r"PUT routers/\{\}/(add|remove)_extraroutes",
    ),
    Reason(
        "Neutron looks at the next hops of added routes before anything else",
        r"NeutronError\.type",
        r"PUT .*/add_extraroutes",
    ),
    Reason(
        "The tags of what is shared or external are refused there, those of what the caller must not know of are found",
        "status",
        r".*/tags.*",
        r'"403 PolicyNotAuthorized"',
    ),
    Reason(
        "A filter of fixed_ips that names nothing finds every port there",
        "status",
        "GET ports(/\\{\\})?",
        r'"200"',
        r'"400 HTTPBadRequest"',
    ),
    Reason(
        "A DHCP option that dnsmasq does not know is refused: Neutron would keep it, and no guest would get it",
        r"status|NeutronError\.type",
        "(POST|PUT) ports.*",
        here=r'"(400 )?HTTPBadRequest"',
        bodies=r'.*"opt_name": "(nosuch|42)".*',
    ),
    Reason(
        "Neutron makes several of a kind at once of networks, subnets, ports, groups and rules only",
        r"status|NeutronError\.type",
        r"POST (routers|floatingips|subnetpools|address-scopes|rbac-policies|address-groups|qos/policies|metering/.*"
        r"|flavors|service_profiles|qos/policies/.*|default-security-group-rules) several",
        r'"(400 )?HTTPBadRequest"',
    ),
    Reason(
        "Lists of policies have an order and pages for each type of object there, and no markers",
        r"status|rbac_policies(_links)?\.\*.*",
        "GET rbac-policies",
        queries=r".*\b(limit|marker|sort_key|page_reverse)=.*",
    ),
    Reason(
        "Neutron takes 1.5 and true for whole numbers",
        r"status|NeutronError\.type",
        "(POST|PUT) .*",
        r'"20[01]"|"\d+ \w+"|"\w+"',
        r'"(400 )?(InvalidInput|HTTPBadRequest)"',
        bodies=_NO_WHOLE_NUMBER,
    ),
    Reason(
        "Neutron takes 1.5 and true for quotas",
        "status",
        r"PUT quotas/\w+",
        '"200"',
        '"400 InvalidInput"',
        bodies=r'\{"quota": \{"\w+": (1\.5|true|false)\}\}',
    ),
    Reason(
        "The answer to a PUT of a pool writes lengths of prefixes as numbers there, and leaves out what is null",
        r"subnetpool\.(min_prefixlen|max_prefixlen|default_prefixlen|default_quota|address_scope_id)",
        r"PUT subnetpools/\{\}",
    ),
    Reason(
        "The same service type twice is a conflict there",
        r"status|NeutronError\.type",
        "(POST|PUT) subnets.*",
        r".*DuplicateEntry\"",
    ),
    Reason(
        "Neutron looks at no subport after one that inherits",
        "status",
        r"(PUT trunks/\{\}/(add|remove)_subports|POST trunks)",
        here='"400 (InvalidInput|HTTPBadRequest)"',
        bodies=r'.*"inherit".*',
    ),
    Reason(
        "Who may not know of an object is told there that it may not share it, and here that it is not there",
        "status",
        "POST rbac-policies",
        r'"400 InvalidInput"',
        r'"404 RbacPolicyNotFound"',
    ),
    Reason(
        "Rules of what hosts promise to a server's port are not changed: Neutron says 501 of it",
        "status",
        r"(POST|PUT|DELETE) qos/.*minimum_.*",
        r'"501 NotImplementedError"',
        r'"409 NotImplementedError"',
    ),
    Reason(
        "Neutron shows managers the quotas of every project",
        "status",
        r"GET quotas(/\w+(/default)?)?",
        r'"200"',
        r'"403 PolicyNotAuthorized"',
        "manager",
    ),
    Reason(
        "An answer to a change of an address group's addresses holds there the number of its row, and `shared`",
        r"address_group\.(shared|standard_attr_id)",
        r"PUT address-groups/\{\}/(add|remove)_addresses",
        here=r"\(not there\)",
    ),
    Reason(
        "A destination of an extra route has a mask, as in a PUT of the router: Neutron's action takes it without",
        "status",
        r"PUT routers/\{\}/add_extraroutes",
        r'"200"',
        r'"400 HTTPBadRequest"',
        bodies=r'.*"destination": "10\.0\.0\.3".*',
    ),
    Reason(
        "An agent is a part of its host, and is not taken down alone",
        "status",
        r"PUT agents/\{\}",
        r'"200"',
        r'"400 HTTPBadRequest"',
        bodies=r'.*"admin_state_up".*',
    ),
    Reason(
        "A network or policy that the caller must not know of is not there; Neutron says that it may not be used",
        "status",
        r"POST (subnets|ports|segments|security-group-rules|qos/policies/\{\}/\w+|routers/\{\}/conntrack_helpers)"
        "( several)?",
        r'"403 PolicyNotAuthorized"',
        r'"404 (NetworkNotFound|SecurityGroupNotFound|QosPolicyNotFound|RouterNotFound)"',
    ),
    Reason(
        "What a local IP that the caller does not see leads to is not there for it, and nor is the local IP",
        "status|NeutronError.type",
        r"(GET|POST|DELETE) local_ips/\{\}/port_associations(/\{\})?",
        here=r'"(404 )?LocalIPNotFound"',
    ),
    Reason(
        "A port keeps the address of a local IP, which another could get, and is not made an ordinary one",
        "status",
        r"PUT ports/\{\}",
        r'"200"',
        r'"(400 BadRequest|409 UnsupportedPortDeviceOwner)"',
        bodies=r'.*"(fixed_ips|device_owner|device_id)".*',
    ),
    Reason(
        "A local IP has an IPv4 address, and on a network of others one of its pools, which leads to ports there",
        "status",
        r"POST local_ips(/\{\}/port_associations)?( several)?",
        r'"201"',
        r'"400 BadRequest"',
    ),
    Reason(
        "A floating IP's router without a port is refused: Neutron takes it and does nothing",
        "status",
        r"(POST|PUT) floatingips.*",
        r'"20[01]"',
        r'"400 BadRequest.*',
    ),
    Reason(
        "An agent tells how its own process is set up, and those of this comparison never ran",
        r"agent\.(configurations\..*|created_at|started_at)",
        r"PUT agents/\{\}",
    ),
    Reason(
        "Neutron counts no subnet of another project when it tells whether a routed network has any",
        r"ports?\.(\*\.)?ip_allocation",
        r"(GET|POST|PUT) ports.*",
        '"immediate"',
        '"deferred"',
    ),
    Reason(
        "Neutron takes an address from any of several subnets that would do",
        r"ports?\.(\*\.)?fixed_ips\.\*\.subnet_id",
        r"(GET|POST|PUT) ports.*",
        r'"\(id\)"',
        r'"\(id\)"',
    ),
    Reason(
        "Who may only read is told so before what is wrong with a pair of addresses",
        "status",
        "POST ports.*",
        r'"400 AllowedAddressPairs\w+"',
        '"403 PolicyNotAuthorized"',
        "reader",
    ),
    Reason(
        "A filter by what the caller may not see is not read",
        r"status|NeutronError\.type",
        "GET networks",
        '"(400 )?InvalidInput"',
        '"(200|HTTPBadRequest)"',
        "demo|manager|reader|other",
        queries=r".*\bprovider:segmentation_id=.*",
    ),
    Reason(
        "Neutron looks for a conntrack helper before it sees that what is to help is no text",
        "status",
        r"PUT routers/\{\}/conntrack_helpers/\{\}",
        r'"404 \w+NotFound"',
        '"400 HTTPBadRequest"',
        bodies=r'.*"helper": [^"n].*',
    ),
    Reason(
        "Neutron fails to refuse several address scopes at once",
        "status",
        "POST address-scopes several",
        '"500 HTTPInternalServerError"',
        '"201"',
    ),
    Reason(
        "Neutron looks for the policy of a rule of packets before the body",
        "status",
        r"PUT qos/policies/\{\}/(minimum_packet_rate|packet_rate_limit)_rules/\{\}",
        '"404 QosPolicyNotFound"',
        '"400 HTTPBadRequest"',
    ),
    Reason(
        "Neutron fails to refuse a second association of a local IP with a port",
        "status",
        r"POST local_ips/\{\}/port_associations",
        '"500 HTTPInternalServerError"',
        '"409 NeutronDbObjectDuplicateEntry"',
    ),
    Reason("A port that could not be bound tells why", r".*binding:vif_details\.refusal"),
    Reason("Rules of groups have no PUT", "status", r"PUT security-group-rules/\{\}", here=r'"405 .*'),
    Reason(
        "A metering rule is for who owns its label, and none is of two IP versions, which no packet is of",
        "status",
        "POST metering/metering-label-rules",
        r'"201"',
        r'"40[04] .*',
    ),
    Reason(
        "Who may not delete a topology is told so first; Neutron first makes the one that is not there, or fails to",
        "status",
        r"DELETE auto-allocated-topology/\w+",
        '"409 AutoAllocationFailure"',
        '"403 PolicyNotAuthorized"',
        "reader",
    ),
    Reason(
        "The router that Neutron makes for a project has null for its description",
        r"routers?\.(\*\.)?description",
        r"GET routers(/\{\})?",
        "null",
        '""',
    ),
    Reason(
        "A key beside the prefixes or the network of a pool's actions is refused: nothing would read it",
        "status",
        r"PUT subnetpools/\{\}/(add_prefixes|remove_prefixes|onboard_network_subnets)",
        r'"200"',
        r'"400 HTTPBadRequest"',
    ),
    Reason(
        "A template of rules names groups that are there: Neutron takes any text, and then fails to make groups",
        "status",
        "POST default-security-group-rules",
        r'"201"',
        r'"404 .*',
    ),
    Reason(
        "Default groups do not begin with the same rule twice: Neutron looks at the templates of other groups only",
        "status",
        "POST default-security-group-rules",
        r'"201"',
        r'"409 .*',
    ),
    Reason(
        "Templates of rules have no PUT", "status", r"PUT default-security-group-rules/\{\}", r'"40[04] .*', r'"405 .*'
    ),
    Reason(
        "A service profile that is not enabled is a conflict and no failure of the service",
        "status",
        "POST routers",
        r'"503 ServiceProfileDisabled.*',
        r'"409 ServiceProfileDisabled.*',
    ),
    Reason(
        "Metering labels and their rules have no PUT; Neutron looks at the body first, then for the object",
        "status",
        "PUT metering/.*",
        r'"(400|404|501) .*',
        r'"405 .*',
    ),
    Reason(
        "A router and a network have their zone from the hosts that serve them, which come with other requests there",
        r"(router|network)s?\.(\*\.)?availability_zones\.\*",
    ),
)
"""Of differences in generated sequences. Steps are like `PUT ports/{}`."""
