"""What `[volume.backends.NAME]` may say for an appliance: by the names that Cinder's driver has had them by.

Source: openstack/cinder cinder/volume/drivers/zfssa/zfssaiscsi.py, and its first release's `zfssa_host`,
`zfssa_auth_user` and `zfssa_auth_password`, which `san_ip`, `san_login` and `san_password` are called since.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

import msgspec

DEFAULT_GROUP: Final = "default"
_IQN: Final = re.compile(r"iqn\.[0-9]{4}-[0-9]{2}\.[^\s,]{1,200}")
_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$"
_ADDRESS: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")

Name = Annotated[str, msgspec.Meta(pattern=_NAME)]


class ZfssaOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every one acts; what would not is refused."""

    zfssa_pool: Name
    zfssa_project: Name
    """Made where it is not there yet. What is in it belongs to this back end: one cloud has it."""
    zfssa_target_portal: str
    """Address and port of iSCSI."""
    zfssa_host: str = ""
    """Address of the REST interface, also with a port; without, that of the appliance, 215."""
    san_ip: str = ""
    zfssa_auth_user: str = ""
    san_login: str = ""
    zfssa_auth_password: str = ""
    san_password: str = ""
    zfssa_target_group: Name = "tgt-grp"
    zfssa_target_interfaces: str = ""
    """Of a target that has to be made; names with commas between them."""
    zfssa_initiator_group: Name = DEFAULT_GROUP
    """Who may see a volume that a guest has; `default` is everybody."""
    zfssa_initiator: str = ""
    """IQNs of the group's initiators, with commas between them. A host takes the one that ends with its name after a
    colon, otherwise the first."""
    zfssa_initiator_user: str = ""
    zfssa_initiator_password: str = ""
    """For CHAP; the target that is made asks for it then."""
    zfssa_lun_volblocksize: Literal["512", "1k", "2k", "4k", "8k", "16k", "32k", "64k", "128k"] = "8k"
    zfssa_lun_sparse: bool = False
    zfssa_lun_compression: Literal["off", "lzjb", "gzip-2", "gzip", "gzip-9"] = "off"
    zfssa_lun_logbias: Literal["latency", "throughput"] = "latency"
    zfssa_rest_timeout: Annotated[int, msgspec.Meta(ge=1, le=600)] = 60
    """Seconds that the appliance has for an answer."""
    driver_ssl_cert_verify: bool = False
    """Whether the appliance's certificate is looked at; it has signed its own, as it comes."""
    driver_ssl_cert_path: str = ""
    """A file of certificates that it may be signed by."""

    def __post_init__(self) -> None:
        for first, second in (
            ("zfssa_host", "san_ip"),
            ("zfssa_auth_user", "san_login"),
            ("zfssa_auth_password", "san_password"),
        ):
            if bool(getattr(self, first)) is bool(getattr(self, second)):
                raise ValueError(f"one of {first} and {second} is needed, and one is enough")
        for key in ("zfssa_host", "san_ip", "zfssa_target_portal"):
            if getattr(self, key) and not _ADDRESS.fullmatch(getattr(self, key)):
                raise ValueError(f"{key} is an address, as 192.0.2.7 or [2001:db8::7], with a port or without")
        is_default = self.zfssa_initiator_group == DEFAULT_GROUP
        if is_default and self.zfssa_initiator and not self.zfssa_initiator_user:
            raise ValueError("zfssa_initiator names those of a group, and zfssa_initiator_group is everybody")
        if not is_default and not self.zfssa_initiator:
            raise ValueError("zfssa_initiator is needed for a group that is not everybody's")
        for iqn in self.initiators:
            if not _IQN.fullmatch(iqn):
                raise ValueError("zfssa_initiator has IQNs, as iqn.2014-08.com.example:host, with commas between them")
        if bool(self.zfssa_initiator_user) is not bool(self.zfssa_initiator_password):
            raise ValueError("zfssa_initiator_user and zfssa_initiator_password go together")
        if self.zfssa_initiator_user and not self.zfssa_initiator:
            raise ValueError("zfssa_initiator is needed: a user is one of an initiator")
        if self.zfssa_initiator_password and not 12 <= len(self.zfssa_initiator_password) <= 255:
            raise ValueError("zfssa_initiator_password has 12 characters at least")
        if self.driver_ssl_cert_path and not self.driver_ssl_cert_verify:
            raise ValueError("driver_ssl_cert_path is for driver_ssl_cert_verify = true")

    @property
    def address(self) -> tuple[str, int]:
        """Of the REST interface."""
        return _split(self.zfssa_host or self.san_ip, 215)

    @property
    def portal(self) -> str:
        """Of iSCSI, with its port."""
        host, port = _split(self.zfssa_target_portal, 3260)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def user(self) -> str:
        return self.zfssa_auth_user or self.san_login

    @property
    def password(self) -> str:
        return self.zfssa_auth_password or self.san_password

    @property
    def initiators(self) -> tuple[str, ...]:
        return tuple(each.strip() for each in self.zfssa_initiator.split(",") if each.strip())

    @property
    def interfaces(self) -> list[str]:
        return [each.strip() for each in self.zfssa_target_interfaces.split(",") if each.strip()]

    def initiator(self, host: str) -> str:
        """The IQN that this host says it is."""
        own = [iqn for iqn in self.initiators if iqn.endswith(f":{host}")]
        return (own or list(self.initiators) or [f"iqn.2008-11.org.linux-kvm:{host}"])[0]


def _split(address: str, port: int) -> tuple[str, int]:
    found = _ADDRESS.fullmatch(address)
    assert found is not None
    return found[1].strip("[]"), int(found[2] or port)
