"""Names of ports in the cloud's own domain: which are kept, and how answers tell them.

The domain is the operator's to set. Until it is set, it is Neutron's default, and as there names of ports are taken and
not kept: each address has the name `host-10-0-0-5.openstacklocal.`.

Source: openstack/neutron, neutron/plugins/ml2/extensions/dns_integration.py; neutron-lib, api/validators/dns.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping

import msgspec

from deuteron.model.network import PORT
from deuteron.model.network.dns import MAX_NAME
from deuteron.model.settings import DNS_DOMAIN, Settings
from deuteron.rules.network import attributes, faults

NAMES = ("dns_name", "dns_domain")


class _Address(msgspec.Struct, gc=False):
    ip_address: str


_ADDRESSES = msgspec.json.Decoder(list[_Address])


def are_given(settings: Settings) -> bool:
    """Whether ports have names of their own: the operator has set a domain for them."""
    return settings.dns_domain not in ("", DNS_DOMAIN)


def kept(settings: Settings, values: Mapping[str, object]) -> dict[str, str]:
    """Those of `NAMES` that are in `values` and that a port keeps."""
    if not are_given(settings):
        return {}
    return {name: str(values[name]) for name in NAMES if name in values}


def refuse_name(settings: Settings, values: Mapping[str, object]) -> None:
    """Of the body of a port. Raises: BadRequest for a name that does not fit the domain."""
    if are_given(settings) and values.get("dns_name"):
        _refuse_misfit(settings, str(values["dns_name"]))


def name_of_host(settings: Settings, hostname: str) -> str:
    """The `dns_name` of ports of a device with this host name. Raises: BadRequest for one that is none."""
    if not are_given(settings):
        return ""
    name = str(attributes.decode(PORT.by_name["dns_name"], hostname))
    _refuse_misfit(settings, name)
    return name


def show(settings: Settings, rows: Iterable[MutableMapping[str, object]], names: frozenset[str]) -> None:
    """Put `dns_assignment` into rows with `fixed_ips` and `dns_name`."""
    if "dns_assignment" not in names:
        return
    has_names = are_given(settings)
    tail = f".{settings.dns_domain}." if settings.dns_domain else ""
    for row in rows:
        name = str(row["dns_name"]) if has_names else ""
        end = "" if name.endswith(".") else tail
        stored = row["fixed_ips"]
        told = []
        # As JSON already, for a list has many: nothing in these texts has to be escaped.
        for each in _ADDRESSES.decode(stored if isinstance(stored, msgspec.Raw) else msgspec.json.encode(stored)):
            address = each.ip_address
            host = name or f"host-{address.replace('.', '-').replace(':', '-')}"
            told.append(f'{{"ip_address":"{address}","hostname":"{host}","fqdn":"{host}{end}"}}')
        row["dns_assignment"] = msgspec.Raw(f"[{','.join(told)}]")


def _refuse_misfit(settings: Settings, name: str) -> None:
    """A name fits together with the domain; one that has a domain already has this one. Raises: BadRequest."""
    tail = f".{settings.dns_domain}."
    if not name.endswith("."):
        if len(name) + len(tail) <= MAX_NAME:
            return
        reason = (
            f"The dns_name passed is a PQDN and its size is '{len(name)}'. The dns_domain option of the cloud is set "
            f"to {tail[1:]}, with a length of '{len(tail)}'. When the two are concatenated to form a FQDN (with a '.' "
            f"at the end), the resulting length exceeds the maximum size of '{MAX_NAME}'"
        )
    elif len(name) > len(tail) and name.endswith(tail):
        return
    else:
        reason = (
            "The dns_name passed is a FQDN. Its higher level labels must be equal to the dns_domain option of the "
            f"cloud, that has been set to '{tail[1:]}'. It must also include one or more valid DNS labels to the left "
            f"of '{tail[1:]}'"
        )
    raise faults.invalid_value("dns_name", reason)
