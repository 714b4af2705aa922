"""Extra DHCP options of ports: which there are, and what a port has after it asks for some.

Source: openstack/neutron, neutron/db/extradhcpopt_db.py. Neutron takes any name; dnsmasq leaves out a line with a name
that it does not know, so such a name is refused here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deuteron.model.codecs import whole_number
from deuteron.model.network.parts import DhcpOption
from deuteron.rules.network import faults
from deuteron.store.query import Values

CLIENT_ID: Final = "client-id"
"""Not an option that is sent, but how the server knows the guest."""

_IPV4: Final = """
    netmask time-offset router dns-server log-server lpr-server boot-file-size domain-name swap-server root-path
    extension-path ip-forward-enable non-local-source-routing policy-filter max-datagram-reassembly default-ttl mtu
    all-subnets-local router-discovery router-solicitation static-route trailer-encapsulation arp-timeout
    ethernet-encap tcp-ttl tcp-keepalive nis-domain nis-server ntp-server netbios-ns netbios-dd netbios-nodetype
    netbios-scope x-windows-fs x-windows-dm t1 t2 vendor-class nis+-domain nis+-server tftp-server bootfile-name
    mobile-ip-home smtp-server pop3-server nntp-server irc-server user-class rapid-commit client-arch
    client-interface-id client-machine-id domain-search sip-server classless-static-route vendor-id-encap
    tftp-server-address server-ip-address
"""
_IPV6: Final = """
    sip-server-domain sip-server dns-server domain-search nis-server nis+-server nis-domain nis+-domain sntp-server
    information-refresh-time ntp-server bootfile-url bootfile-param
"""
NAMES: Final = {version: frozenset(words.split()) for version, words in ((4, _IPV4), (6, _IPV6))}
"""What dnsmasq reads by name. Source: `dnsmasq --help dhcp` and `dnsmasq --help dhcp6`."""


def merged(present: Sequence[DhcpOption], wanted: Sequence[Values]) -> list[DhcpOption]:
    """DHCP options by name and family; a null value takes one away. Raises: BadRequest."""
    options = {(item["opt_name"], item["ip_version"]): item for item in present}
    for item in wanted:
        name, version, value = item["opt_name"], item.get("ip_version", 4), item.get("opt_value")
        if value is None:
            options.pop((name, version), None)
            continue
        _refuse_unknown(name, version)
        if name == CLIENT_ID and "," in value:
            # It is a word of the line that ties MAC addresses to an address; a comma would begin another word.
            raise faults.invalid_value("extra_dhcp_opts", f"'{value}' is not a client id: it has a comma")
        options[name, version] = {"opt_name": name, "opt_value": value, "ip_version": version}
    return list(options.values())


def _refuse_unknown(name: str, version: int) -> None:
    is_number = 0 < (whole_number(name) or 0) < 255
    if not is_number and name != CLIENT_ID and name.lower() not in NAMES[version]:
        raise faults.invalid_value(
            "extra_dhcp_opts",
            f"'{name}' is not a DHCP option for IPv{version} that dnsmasq knows; its names and the numbers 1 to 254 "
            "are accepted",
        )
