"""The driver's project on the appliance: its LUNs and snapshots by their names, and what the project stands on.

What the appliance holds is looked up each time; nothing is remembered but the name of the target.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, unquote

import msgspec

from deuteron.volume.contract import VolumeFailure
from deuteron.volume.zfssa.client import Body, Refusal, ZfssaClient, path_of
from deuteron.volume.zfssa.options import DEFAULT_GROUP, ZfssaOptions

MASK_ALL: Final = "com.sun.ms.vss.hg.maskAll"
"""The group of initiators that nobody is in."""
MARK: Final = "deuteron_guest"
"""The custom property that says which guest has a LUN: the volume's id, then the host and folder of the guest. All of
it twice while the guest is on its way between two hosts."""
_SAN: Final = "/api/san/v1/iscsi"


class Lun(msgspec.Struct, frozen=True):
    name: str
    size_bytes: int
    number: int
    group: str
    mark: str
    nodestroy: bool
    origin: tuple[str, str] | None
    """Project's LUN and snapshot that it was cloned of."""


class Snap(msgspec.Struct, frozen=True):
    lun: str
    name: str
    clones: int


class Project:
    """Functions raise Refusal and BackendAway of the client, beside what they say."""

    def __init__(self, client: ZfssaClient, options: ZfssaOptions) -> None:
        self._client = client
        self._options = options
        self._names = ("pools", options.zfssa_pool, "projects", options.zfssa_project)

    # --- what has to be there -----------------------------------------------------------------------------------------

    def prepare(self) -> str:
        """Make what is missing, but for the pool; the IQN of the target. Raises: VolumeFailure."""
        options = self._options
        if self._client.find(path_of("pools", options.zfssa_pool)) is None:
            raise VolumeFailure(
                f'the appliance has no pool "{options.zfssa_pool}" (zfssa_pool): make it there, or name another'
            )
        if self._client.find(path_of(*self._names)) is None:
            body = {
                "name": options.zfssa_project,
                "compression": options.zfssa_lun_compression,
                "logbias": options.zfssa_lun_logbias,
            }
            self._make(path_of("pools", options.zfssa_pool, "projects"), body)
        if self._client.find(path_of("schema", MARK)) is None:
            self._make(path_of("schema"), {"property": MARK, "description": "Guest that has it", "type": "String"})
        self._prepare_initiators()
        return self._prepare_target()

    def _prepare_initiators(self) -> None:
        options = self._options
        for iqn in options.initiators:
            if self._client.find(f"{_SAN}/initiators/{quote(iqn, safe=':')}") is None:
                body = {"initiator": iqn, "alias": f"{options.zfssa_initiator_group}-{iqn}"}
                self._make(f"{_SAN}/initiators", body | self._chap())
            elif options.zfssa_initiator_user:
                self._client.put(f"{_SAN}/initiators/{quote(iqn, safe=':')}", self._chap())
        if options.zfssa_initiator_group != DEFAULT_GROUP:
            self._prepare_group("initiators", options.zfssa_initiator_group, list(options.initiators))

    def _chap(self) -> Body:
        if not self._options.zfssa_initiator_user:
            return {}
        return {
            "chapuser": self._options.zfssa_initiator_user,
            "chapsecret": self._options.zfssa_initiator_password,
        }

    def _prepare_target(self) -> str:
        options = self._options
        path = f"{_SAN}/targets/alias={quote(options.zfssa_target_group)}"
        found = self._client.find(path)
        if found is None:
            body: Body = {"alias": options.zfssa_target_group}
            if options.interfaces:
                body["interfaces"] = options.interfaces
            if options.zfssa_initiator_user:
                body["auth"] = "chap"
            self._make(f"{_SAN}/targets", body)
            found = self._client.get(path)
        target = found["target"]
        if (target.get("auth") == "chap") is not bool(options.zfssa_initiator_user):
            said = "asks for CHAP" if target.get("auth") == "chap" else "asks nobody for CHAP"
            name = options.zfssa_target_group
            raise VolumeFailure(f'the target "{name}" of the appliance {said}, other than zfssa_initiator_user says')
        iqn = str(target["iqn"])
        self._prepare_group("targets", options.zfssa_target_group, [iqn])
        return iqn

    def _prepare_group(self, kind: str, name: str, members: list[str]) -> None:
        path = f"{_SAN}/{kind[:-1]}-groups"
        found = self._client.find(f"{path}/{quote(name)}")
        if found is None:
            self._make(path, {"name": name, kind: members})
            return
        there = list(found["group"].get(kind) or ())
        missing = [each for each in members if each not in there]
        if missing:
            self._client.put(f"{path}/{quote(name)}", {kind: there + missing})

    def _make(self, path: str, body: Body) -> None:
        """Make it; another host may just have."""
        try:
            self._client.post(path, body)
        except Refusal as refusal:
            if refusal.status != 409:
                raise

    # --- LUNs ---------------------------------------------------------------------------------------------------------

    def lun(self, name: str) -> Lun | None:
        found = self._client.find(self._lun_path(name))
        return None if found is None else _lun_of(found["lun"])

    def luns(self) -> list[Lun]:
        return [_lun_of(each) for each in self._client.get(path_of(*self._names, "luns"))["luns"]]

    def create(self, name: str, size_bytes: int) -> None:
        """A new LUN that nobody sees."""
        options = self._options
        body: Body = {
            "name": name,
            "volsize": size_bytes,
            "volblocksize": options.zfssa_lun_volblocksize,
            "sparse": options.zfssa_lun_sparse,
            "compression": options.zfssa_lun_compression,
            "logbias": options.zfssa_lun_logbias,
            "targetgroup": options.zfssa_target_group,
            "initiatorgroup": MASK_ALL,
        }
        self._client.post(path_of(*self._names, "luns"), body)

    def change(self, name: str, body: Body) -> Lun:
        return _lun_of(self._client.put(self._lun_path(name), body)["lun"])

    def delete(self, name: str) -> None:
        self._client.delete(self._lun_path(name))

    # --- snapshots ----------------------------------------------------------------------------------------------------

    def snapshots(self) -> list[Snap]:
        """Of all LUNs of the project."""
        prefix = path_of(*self._names, "luns")
        found = []
        for each in self._client.get(path_of("snapshots"))["snapshots"]:
            lun, _, rest = str(each.get("href", "")).removeprefix(f"{prefix}/").partition("/snapshots/")
            if rest and "/" not in lun:
                found.append(Snap(unquote(lun), str(each["name"]), int(each.get("numclones") or 0)))
        return found

    def snapshot(self, lun: str, name: str) -> Snap | None:
        found = self._client.find(self._lun_path(lun, "snapshots", name))
        return None if found is None else Snap(lun, name, int(found["snapshot"].get("numclones") or 0))

    def keep(self, lun: str, name: str) -> None:
        """A snapshot of what the LUN holds now."""
        self._client.post(self._lun_path(lun, "snapshots"), {"name": name})

    def rename_snapshot(self, lun: str, name: str, new: str) -> None:
        self._client.put(self._lun_path(lun, "snapshots", name), {"name": new})

    def delete_snapshot(self, lun: str, name: str) -> None:
        self._client.delete(self._lun_path(lun, "snapshots", name))

    def clone(self, lun: str, snapshot: str, name: str) -> None:
        """A LUN that holds what the snapshot does; it does not go with it."""
        body = {"project": self._options.zfssa_project, "share": name, "nodestroy": True}
        self._client.put(self._lun_path(lun, "snapshots", snapshot, "clone"), body)

    def room(self) -> tuple[int, int]:
        """Bytes in all, and those that are free."""
        shown = self._client.get(path_of(*self._names))["project"]
        free = int(shown["space_available"])
        return free + int(shown["space_total"]), free

    def _lun_path(self, lun: str, *below: str) -> str:
        return path_of(*self._names, "luns", lun, *below)


def _lun_of(shown: Body) -> Lun:
    """Lists are of appliances that show a LUN to several groups; ours has one."""
    number, group = shown["assignednumber"], shown["initiatorgroup"]
    origin = shown.get("origin")
    return Lun(
        name=str(shown["name"]),
        size_bytes=int(shown["volsize"]),
        number=int(number[0] if isinstance(number, list) else number),
        group=str(group[0] if isinstance(group, list) else group),
        mark=str(shown.get(f"custom:{MARK}") or ""),
        nodestroy=bool(shown.get("nodestroy")),
        origin=(str(origin["share"]), str(origin["snapshot"])) if origin else None,
    )
