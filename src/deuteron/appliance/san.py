"""Targets and initiators of iSCSI, their groups, and who may see which LUN.

The group `default` of initiators is everybody; that of targets is every target. A LUN in `com.sun.ms.vss.hg.maskAll`
is seen by nobody.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Final, Literal, Protocol, TypeVar

import msgspec

from . import arguments as take
from .arguments import Body
from .disks import Disk
from .document import Group, Initiator, Lun, Target
from .faults import Fault
from .objects import MASK_ALL, Appliance, Shown

_IQN: Final = re.compile(r"(iqn\.[0-9]{4}-[0-9]{2}\.[a-z0-9.-]{1,200}(:[^\s]{1,200})?|eui\.[0-9A-Fa-f]{16})")
_DEFAULT: Final = "default"

Kind = Literal["targets", "initiators"]


class _Named(Protocol):
    alias: str


_T = TypeVar("_T", bound=_Named)


class San:
    """The appliance's side of iSCSI. Functions raise Fault."""

    def __init__(self, appliance: Appliance, interfaces: tuple[str, ...]) -> None:
        self._appliance = appliance
        self._document = appliance.document
        self._interfaces = interfaces
        appliance.has_group = lambda kind, name: (
            name == _DEFAULT
            or any(each.name == name for each in self._groups("targets" if kind == "targets" else "initiators"))
        )

    # --- asked over REST ----------------------------------------------------------------------------------------------

    def targets(self) -> Shown:
        return {"targets": [self._target_shown(each) for each in self._document.targets]}

    def target(self, name: str) -> Shown:
        return {"target": self._target_shown(self._find(self._document.targets, name, lambda each: each.iqn))}

    def initiators(self) -> Shown:
        return {"initiators": [self._initiator_shown(each) for each in self._document.initiators]}

    def initiator(self, name: str) -> Shown:
        found = self._find(self._document.initiators, name, lambda each: each.initiator)
        return {"initiator": self._initiator_shown(found)}

    def groups(self, kind: Kind) -> Shown:
        return {"groups": [self._group_shown(kind, each) for each in self._groups(kind)]}

    def group(self, kind: Kind, name: str) -> Shown:
        return {"group": self._group_shown(kind, self._group(kind, name))}

    def create_target(self, body: Body) -> Shown:
        keys = ("alias", "iqn", "auth", "targetchapuser", "targetchapsecret", "interfaces")
        take.refuse_unknown(body, keys)
        target = Target(
            iqn=self._iqn(take.text(body, "iqn", f"iqn.1986-03.com.sun:02:{uuid.uuid4()}")),
            alias=take.name(body, "alias"),
            auth=take.one_of(body, "auth", ("none", "chap"), "none"),
            targetchapuser=take.text(body, "targetchapuser", ""),
            targetchapsecret=_secret(body, "targetchapsecret"),
            interfaces=take.words(body, "interfaces"),
        )
        for name in target.interfaces:
            if name not in self._interfaces:
                known = ", ".join(self._interfaces)
                raise Fault("ERR_INVALID_ARG", f'there is no network interface "{name}" (there are: {known})')
        for each in self._document.targets:
            if each.iqn == target.iqn or each.alias == target.alias:
                raise Fault("ERR_OBJECT_EXISTS", f'target "{target.alias}" is there already')
        self._document.targets.append(target)
        self._appliance.save()
        return {"target": self._target_shown(target)}

    def create_initiator(self, body: Body) -> Shown:
        take.refuse_unknown(body, ("initiator", "alias", "chapuser", "chapsecret"))
        made = Initiator(
            initiator=self._iqn(take.text(body, "initiator")),
            alias=take.text(body, "alias", ""),
            chapuser=take.text(body, "chapuser", ""),
            chapsecret=_secret(body, "chapsecret"),
        )
        for each in self._document.initiators:
            if each.initiator == made.initiator or (made.alias and each.alias == made.alias):
                raise Fault("ERR_OBJECT_EXISTS", f'initiator "{made.initiator}" is there already')
        self._document.initiators.append(made)
        self._appliance.save()
        return {"initiator": self._initiator_shown(made)}

    def modify_initiator(self, name: str, body: Body) -> Shown:
        found = self._find(self._document.initiators, name, lambda each: each.initiator)
        take.refuse_unknown(body, ("alias", "chapuser", "chapsecret"))
        found.alias = take.text(body, "alias", found.alias)
        found.chapuser = take.text(body, "chapuser", found.chapuser)
        found.chapsecret = _secret(body, "chapsecret", found.chapsecret)
        self._appliance.save()
        return {"initiator": self._initiator_shown(found)}

    def create_group(self, kind: Kind, body: Body) -> Shown:
        take.refuse_unknown(body, ("name", kind))
        group = Group(take.name(body, "name"), self._members(kind, body))
        if group.name in (_DEFAULT, MASK_ALL) or any(each.name == group.name for each in self._groups(kind)):
            raise Fault("ERR_OBJECT_EXISTS", f'group "{group.name}" is there already')
        self._groups(kind).append(group)
        self._appliance.save()
        return {"group": self._group_shown(kind, group)}

    def modify_group(self, kind: Kind, name: str, body: Body) -> Shown:
        group = self._group(kind, name)
        take.refuse_unknown(body, (kind,))
        group.members = self._members(kind, body)
        self._appliance.save()
        return {"group": self._group_shown(kind, group)}

    # --- asked by initiators ------------------------------------------------------------------------------------------

    def offered(self) -> list[str]:
        """IQNs of all targets."""
        with self._appliance.lock:
            return [each.iqn for each in self._document.targets]

    def find_target(self, iqn: str) -> Target | None:
        with self._appliance.lock:
            return next((each for each in self._document.targets if each.iqn == iqn), None)

    def find_initiator(self, iqn: str) -> Initiator | None:
        with self._appliance.lock:
            return next((each for each in self._document.initiators if each.initiator == iqn), None)

    def visible(self, target: str, initiator: str) -> dict[int, tuple[Lun, Disk]]:
        """What an initiator sees at a target, by number."""
        with self._appliance.lock:
            return {
                lun.assignednumber: (lun, self._appliance.storage.disks[lun.id])
                for lun in self._document.luns
                if self._is_in("targets", lun.targetgroup, target)
                and self._is_in("initiators", lun.initiatorgroup, initiator)
            }

    def use(self, disk: Disk, session: object) -> None:
        """The session has sent a command to it; `leave` ends that."""
        with self._appliance.lock:
            disk.users.add(session)

    def leave(self, session: object) -> None:
        with self._appliance.lock:
            for disk in self._appliance.storage.disks.values():
                disk.users.discard(session)

    # --- helpers ------------------------------------------------------------------------------------------------------

    def _is_in(self, kind: Kind, group: str, member: str) -> bool:
        if group == _DEFAULT:
            return True
        return any(each.name == group and member in each.members for each in self._groups(kind))

    def _groups(self, kind: Kind) -> list[Group]:
        return self._document.target_groups if kind == "targets" else self._document.initiator_groups

    def _group(self, kind: Kind, name: str) -> Group:
        for each in self._groups(kind):
            if each.name == name:
                return each
        raise Fault("ERR_NOT_FOUND", f'there is no group of {kind} "{name}"')

    def _members(self, kind: Kind, body: Body) -> list[str]:
        members = take.words(body, kind)
        known = self.offered() if kind == "targets" else [each.initiator for each in self._document.initiators]
        for member in members:
            if member not in known:
                raise Fault("ERR_INVALID_ARG", f'there is no {kind[:-1]} "{member}"')
        return members

    def _iqn(self, iqn: str) -> str:
        if not _IQN.fullmatch(iqn):
            raise Fault("ERR_INVALID_ARG", f'"{iqn}" is no name of iSCSI, as iqn.2001-04.com.example:name')
        return iqn

    def _find(self, among: list[_T], name: str, iqn_of: Callable[[_T], str]) -> _T:
        for each in among:
            if name == f"alias={each.alias}" or name == iqn_of(each):
                return each
        raise Fault("ERR_NOT_FOUND", f'there is no "{name}"')

    def _target_shown(self, target: Target) -> Shown:
        shown: Shown = msgspec.to_builtins(target)
        return shown | {
            "targetchapsecret": "********" if target.targetchapsecret else "",
            "href": f"/api/san/v1/iscsi/targets/{target.iqn}",
        }

    def _initiator_shown(self, initiator: Initiator) -> Shown:
        shown: Shown = msgspec.to_builtins(initiator)
        return shown | {
            "chapsecret": "********" if initiator.chapsecret else "",
            "href": f"/api/san/v1/iscsi/initiators/{initiator.initiator}",
        }

    def _group_shown(self, kind: Kind, group: Group) -> Shown:
        href = f"/api/san/v1/iscsi/{kind[:-1]}-groups/{group.name}"
        return {"name": group.name, kind: group.members, "href": href}


def _secret(body: Body, key: str, default: str = "") -> str:
    """Source: RFC 7143 section 12.1.3: a secret has 96 bits at least; the appliance takes 12 to 16 characters."""
    value = take.text(body, key, default)
    if value and not 12 <= len(value) <= 255:
        raise Fault("ERR_INVALID_ARG", f'"{key}" has 12 characters at least')
    return value
