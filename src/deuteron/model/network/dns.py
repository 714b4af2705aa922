"""Names of ports: what DNS attributes hold, and the extensions that promise them.

Nothing here answers for a name outside of the cloud: what Neutron would tell such a service is kept, as it is there
without a driver for one.

Source: neutron-lib, api/definitions/dns.py, dns_domain_ports.py, subnet_dns_publish_fixed_ip.py, api/validators/dns.py,
constants.py (`DNS_LABEL_REGEX`); RFC 952, RFC 1034, RFC 1123 section 2.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

from deuteron.model.codecs import Anything, Boolean, Invalid, quoted
from deuteron.model.resource import Attribute, Extension

MAX_NAME: Final = 255
"""Characters of a name with its domain."""
NOT_A_TEXT: Final = "must be string type"
"""The end of what is said of a value that is none."""

_KEYWORDS: Final = "<(?:project_id|project_name|user_name|user_id)>"
_LABEL: Final = re.compile(f"[a-z0-9-]{{1,63}}|{_KEYWORDS}")
_LETTERS: Final = rf"(?:[A-Za-z0-9-]{{1,63}}|{_KEYWORDS})(?:\.(?:[A-Za-z0-9-]{{1,63}}|{_KEYWORDS}))*"


@dataclass(frozen=True)
class DnsName:
    """A name in small letters, or "". A `relative` one has no dot at its end, an `absolute` one has; `any` may have."""

    form: Literal["any", "relative", "absolute"] = "any"
    column: str = "text"
    row_type: ClassVar[str] = "str"

    def decode(self, raw: Any) -> Any:
        if not isinstance(raw, str):
            raise Invalid(f"Input value {quoted(raw)} {NOT_A_TEXT}", raw)
        name = raw.lower()
        if not name:
            return name
        if self.form == "absolute" and not name.endswith("."):
            raise Invalid(f"'{quoted(name)}' is not a FQDN", raw)
        if self.form == "relative" and name.endswith("."):
            raise Invalid(f"'{quoted(name)}' is a FQDN. It should be a relative domain name", raw)
        reason = _fault(name.removesuffix("."))
        if reason is not None:
            raise Invalid(f"'{quoted(name)}' not a valid PQDN or FQDN. Reason: {reason}", raw)
        room = {"any": MAX_NAME + 1, "relative": MAX_NAME - 3, "absolute": MAX_NAME - 2}[self.form]
        if len(name) > room:
            added = "domain name" if self.form == "relative" else "sub-domain"
            raise Invalid(
                f"'{quoted(name)}' contains {len(name)} characters. Adding a {added} will cause it to exceed the "
                f"maximum length of a FQDN of '{MAX_NAME}'",
                raw,
            )
        return name

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        end = {"any": r"\.?", "relative": "", "absolute": r"\."}[self.form]
        return {"type": "string", "maxLength": MAX_NAME + 1, "pattern": f"^({_LETTERS}{end})?$"}


def _fault(name: str) -> str | None:
    """Why a name without the dot at its end is none; None for one that is."""
    if len(name) > MAX_NAME:
        return f"'{quoted(name)}' exceeds the {MAX_NAME} character FQDN limit"
    labels = name.split(".")
    for label in labels:
        if not label:
            return "Encountered an empty component"
        if label.startswith("-") or label.endswith("-"):
            return f"Name '{quoted(label)}' must not start or end with a hyphen"
        if not _LABEL.fullmatch(label):
            return (
                f"Name '{quoted(label)}' must be 1-63 characters long, each of which can only be alphanumeric or a "
                "hyphen"
            )
    if len(labels) > 1 and re.fullmatch("[0-9]+", labels[-1]):
        return f"TLD '{quoted(labels[-1])}' must not be all numeric"
    return None


# fmt: off
_DOMAIN: Final = Attribute("dns_domain", DnsName("absolute"), "The domain that a DNS service outside would have it in.",
                           default="", create=True, update=True, filter=False, sort=False)
OF_NETWORK: Final = (_DOMAIN,)
OF_SUBNET: Final = (
    Attribute("dns_publish_fixed_ip", Boolean(), "Whether a DNS service outside would have its addresses.",
              default=False, create=True, update=True, filter=False, sort=False),
)
OF_PORT: Final = (
    Attribute("dns_name", DnsName(), "Its name within the domain of the cloud, which DHCP and DNS tell.", default="",
              create=True, update=True, filter=False, sort=False),
    Attribute("dns_assignment", Anything(), "The name of each of its addresses.", stored=False, filter=False,
              sort=False),
    _DOMAIN,
)
OF_FLOATINGIP: Final = (
    Attribute("dns_name", DnsName("relative"), "For a DNS service outside: without one it is not kept.", default="",
              create=True, stored=False, filter=False, sort=False),
    Attribute("dns_domain", DnsName("absolute"), "For a DNS service outside: without one it is not kept.", default="",
              create=True, stored=False, filter=False, sort=False),
)

EXTENSIONS: Final = {
    "dns-integration": Extension("DNS Integration", "Ports have names.", "2015-08-15T18:00:00-00:00"),
    "dns-integration-domain-keywords": Extension(
        "DNS domain names with keywords allowed", "A domain may hold <project_id> and the like.",
        "2020-06-15T18:00:00-00:00",
    ),
    "dns-domain-ports": Extension("dns_domain for ports", "Ports have a domain.", "2017-04-24T10:00:00-00:00"),
    "subnet-dns-publish-fixed-ip": Extension(
        "Subnet DNS publish fixed IP", "Whether addresses of a subnet are for a DNS service outside.",
        "2019-05-24T10:00:00-00:00",
    ),
}
# fmt: on
