"""An agent that speaks the wire contract with the hub's ASGI handler, in process, and does what tests tell it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from deuteron.api.parts import Parts
from deuteron.model.intent import (
    Answer,
    Ask,
    Backend,
    BackupReport,
    Change,
    Hello,
    IntentBackup,
    IntentObject,
    IntentPort,
    IntentRouter,
    IntentServer,
    IntentSnapshot,
    IntentVolume,
    Kept,
    LiveReport,
    PortReport,
    Report,
    RouterReport,
    ServerReport,
    Snapshot,
    SnapshotReport,
    ToAgent,
    Unmanaged,
    VolumeReport,
    key_of,
)
from tests.waiting import PATIENCE_S
from tests.waiting import until as wait_until

_DECODER = msgspec.json.Decoder(ToAgent)
_BEAT_S = 1.0
_STATES = {"running": "running", "shutdown": "shutdown", "paused": "paused", "suspended": "suspended"}


def backend(name: str = "file", total_gib: int = 100, *, called: str | None = None, **more: Any) -> Backend:
    """A back end for volumes as an agent tells of it."""
    capabilities = {
        "vendor_name": "Deuteron", "storage_protocol": "file", "driver_version": "1", "multiattach": True,
        "thin_provisioning_support": True, "thick_provisioning_support": False,
    }  # fmt: skip
    told = {"total_gib": total_gib, "free_gib": total_gib, "capabilities": capabilities, **more}
    return Backend(name, "file", called or name, **told)


class FakeAgent:
    """One connection. With `obedient`, everything asked for is realised at once and reported.

    Of what it heard it keeps the last `keeps` messages, or all.
    """

    def __init__(
        self,
        cloud: Parts,
        host: str,
        *,
        token: str | None = None,
        obedient: bool = True,
        vcpus: int = 8,
        keeps: int | None = None,
        backends: tuple[Backend, ...] | None = None,
    ) -> None:
        self.cloud = cloud
        self.host = host
        self.obedient = obedient
        self._keeps = keeps
        self.objects: dict[tuple[str, str], IntentObject] = {}
        self.revision = -1
        self.messages: list[ToAgent] = []
        self.closed: int | None = None
        self.accepted = False
        self.faults: dict[str, tuple[str, str]] = {}
        """Id of a server, volume, snapshot or backup, or "backup of <volume>", to the fault it is to have."""
        self.sizes: dict[str, int] = {}
        """What volumes have, in GiB."""
        self.unplugged: dict[str, str] = {}
        """Volumes that it does not plug in, and why."""
        self.stuck: dict[str, str] = {}
        """Servers that it does not get rid of, and why."""
        self.idle: dict[str, Unmanaged] = {}
        """Disks and snapshots of nobody, by name."""
        self.answers: Callable[[Ask], Answer] = self._answered
        self.live: Callable[[IntentServer], LiveReport | None] = self._moved
        self.hello = Hello(
            host=host, roles=("network", "compute", "storage"), vcpus=vcpus, memory_mib=16384, disk_gib=100,
            tunnel_ip=cloud.settings.hosts[host].tunnel_ip if host in cloud.settings.hosts else None,
            bridge_mappings={"physnet1": "br-eth2", "public": "br-ex"}, tunnel_types=("vxlan",),
            volume_backends=(backend(),) if backends is None else backends,
        )  # fmt: skip
        entry = cloud.settings.hosts.get(host)
        self.token = token if token is not None else entry.token if entry is not None else ""
        self._to_hub: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._put = 0
        """How much it said, and …"""
        self._asked_for = 0
        """… how often the hub asked for what it says next."""
        self._gone: tuple[tuple[str, str], ...] = ()
        self._reported: dict[tuple[str, str], Any] = {}
        self._progress = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self.beating: asyncio.Task[None] | None = None

    async def connect(self, *, hello: bool = True) -> FakeAgent:
        scope = {
            "type": "websocket",
            "path": f"/internal/hosts/{self.host}",
            "headers": [(b"authorization", f"Bearer {self.token}".encode())],
            "server": ("api.sock", None),
        }
        await self._send({"type": "websocket.connect"})
        self._task = asyncio.create_task(self.cloud.hub.websocket(scope, self._next, self._take))
        if hello:
            await self.say(self.hello)
            self.beating = asyncio.create_task(self._beat())
            await self._received(lambda: self.revision >= 0)
        else:
            await self._received(lambda: self.accepted or self.closed is not None)
        return self

    async def say(self, message: Any) -> None:
        """Put it on its way; `is_heard` waits until it is recorded."""
        await self._send({"type": "websocket.receive", "text": msgspec.json.encode(message).decode()})

    async def _send(self, message: dict[str, Any]) -> None:
        self._put += 1
        await self._to_hub.put(message)

    async def _next(self) -> dict[str, Any]:
        """What the hub reads, one after the other: when it asks for more, it is done with all before."""
        self._asked_for += 1
        return await self._to_hub.get()

    async def _beat(self) -> None:
        """Signs of life, which record nothing: a test on a busy machine takes longer than a host may be silent."""
        while self.closed is None:
            await asyncio.sleep(_BEAT_S)
            await self.say(Answer(0))

    async def leave(self) -> None:
        if self.beating is not None:
            self.beating.cancel()
        await self._send({"type": "websocket.disconnect", "code": 1006})
        if self._task is not None:
            await self._task

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition on what was received, of which all is that is committed now.

        What was received before may fulfil a condition as well, and is not what a test asked for since.
        """
        await self.is_told()
        await self._received(condition)

    async def is_told(self) -> None:
        """Once it has received all that the hub has for it of what is committed now, if it is connected."""
        revision = self.cloud.database.revision
        hub = self.cloud.hub

        def has_all() -> bool:
            link = hub._links.get(self.host)
            if link is None or link.closed or self.closed is not None:
                return True
            is_looked_at = hub._revision >= revision and link.is_whole
            is_on_its_way = self.host in hub._waiting | hub._sending or self.revision < link.sent
            return is_looked_at and not is_on_its_way

        await wait_until(f"{self.host} is told all of revision {revision}", has_all)

    async def is_heard(self) -> None:
        """Once the hub has recorded all that was said until now, or the connection is over."""
        put, task = self._put, self._task
        await wait_until(
            f"what {self.host} said is recorded", lambda: self._asked_for > put or task is None or task.done()
        )

    async def _received(self, condition: Callable[[], bool]) -> None:
        async with self._progress:
            try:
                await asyncio.wait_for(self._progress.wait_for(condition), PATIENCE_S)
            except TimeoutError:
                raise AssertionError(f"not within {PATIENCE_S:g} s; received: {self.messages[-5:]}") from None

    def servers(self) -> list[IntentServer]:
        return [item for item in self.objects.values() if isinstance(item, IntentServer)]

    async def report(self) -> None:
        """What an agent says after a pass that realised everything, but the end of what is stuck."""
        gone, self._gone = self._gone, ()
        ports, routers, servers = [], [], []
        volumes: list[VolumeReport] = []
        snapshots: list[SnapshotReport] = []
        backups: list[BackupReport] = []
        for key, item in self.objects.items():
            said: Any = None
            if isinstance(item, IntentPort):
                said = PortReport(item.id, "ACTIVE" if item.admin_state_up else "DOWN")
                ports += [said] if self._reported.get(key) != said else []
            elif isinstance(item, IntentRouter):
                said = RouterReport(item.id, "ACTIVE")
                routers += [said] if self._reported.get(key) != said else []
            elif isinstance(item, IntentServer):
                said = self._server(item)
                servers += [said] if self._reported.get(key) != said else []
            elif isinstance(item, IntentVolume) and (said := self._volume(item)) is not None:
                volumes += [said] if self._reported.get(key) != said else []
            elif isinstance(item, IntentSnapshot) and (said := self._snapshot(item)) is not None:
                snapshots += [said] if self._reported.get(key) != said else []
            elif isinstance(item, IntentVolume):
                fault = self.faults.get(item.id)
                held = self.sizes.get(item.id, 0)
                state = "ready" if fault is None else "error"
                size = item.size_gib if fault is None else held
                self.sizes[item.id] = size
                if item.restore is not None:
                    is_had = item.restore.backup_id not in self.faults
                    which = {"restored" if is_had else "not_restored": item.restore.id}
                    said = VolumeReport(item.id, state, size, fault=fault[0] if fault else None, **which)
                elif item.upload is not None and item.upload.image_id in self.faults:
                    said = VolumeReport(item.id, "ready", size, not_uploaded=item.upload.image_id)
                else:
                    shared = item.is_shared and fault is None
                    said = VolumeReport(item.id, state, size, fault=fault[0] if fault else None, is_shared=shared)
                    if item.move is not None:
                        which = "not_moved" if item.move.backend in self.faults else "moved"
                        said = msgspec.structs.replace(said, **{which: item.move.id})
                    if item.revert is not None:
                        which = "not_reverted" if item.revert.snapshot_id in self.faults else "reverted"
                        said = msgspec.structs.replace(said, **{which: item.revert.id})
                    said = msgspec.structs.replace(said, left=item.left)
                    if item.reimage is not None:
                        which = "not_reimaged" if item.reimage.image.id in self.faults else "reimaged"
                        said = msgspec.structs.replace(said, **{which: item.reimage.id})
                volumes += [said] if self._reported.get(key) != said else []
            elif isinstance(item, IntentSnapshot):
                fault = self.faults.get(item.id)
                said = SnapshotReport(item.id, "ready") if fault is None else SnapshotReport(item.id, "error", fault[0])
                snapshots += [said] if self._reported.get(key) != said else []
            elif isinstance(item, IntentBackup):
                fault = self.faults.get(item.id) or self.faults.get(f"backup of {item.volume_id}")
                said = BackupReport(item.id, "ready") if fault is None else BackupReport(item.id, "error", fault[0])
                backups += [said] if self._reported.get(key) != said else []
            if said is not None:
                self._reported[key] = said
        kept = tuple(Kept(kind, id, self.stuck[id]) for kind, id in gone if id in self.stuck)
        self._gone += tuple((item.kind, item.id) for item in kept)
        removed = tuple(key for key in gone if key[1] not in self.stuck)
        statuses = (tuple(ports), tuple(routers), tuple(servers), tuple(volumes), tuple(snapshots), tuple(backups))
        await self.say(Report(self.revision, *statuses, removed, kept))

    def _server(self, item: IntentServer) -> ServerReport:
        if item.id in self.faults:
            fault, details = self.faults[item.id]
            return ServerReport(item.id, "error", fault=fault, fault_details=details)
        there = tuple(each.volume_id for each in item.volumes if each.volume_id not in self.unplugged)
        generations = (item.reboot_generation, item.build_generation, item.shape_generation)
        refused = tuple(self.unplugged.items())
        state = "paused" if item.come is not None else item.power
        more = {"volumes": there, "held": there, "refused": refused, "live": self.live(item)}
        return ServerReport(item.id, state, *generations, **more)

    def _moved(self, item: IntentServer) -> LiveReport | None:
        """Of a server that goes to another host or comes from one: all of it is sent, and there, at once."""
        if item.leave is not None:
            return LiveReport(item.leave, "sent")
        return None if item.come is None else LiveReport(item.come, "loaded")

    def _answered(self, ask: Ask) -> Answer:
        if ask.what == "unmanaged":
            return Answer(ask.number, msgspec.json.encode(list(self.idle.values())).decode())
        if ask.what in ("console_vnc", "console_spice", "console_serial"):
            return Answer(ask.number, "there" if ask.argument < 0 else "off")
        return Answer(ask.number, f"{ask.what} of {ask.id}")

    def _volume(self, item: IntentVolume) -> VolumeReport | None:
        """Of one that is taken in hand, or given out of it; None for another."""
        if item.is_let_go:
            if item.id in self.sizes:
                name = f"unmanaged-{item.id}"
                self.idle[name] = Unmanaged("volume", name, self.sizes.pop(item.id))
            return VolumeReport(item.id, "ready", 0, is_let_go=True)
        if item.is_elsewhere:
            self.sizes.pop(item.id, None)
            return VolumeReport(item.id, "ready", 0, left=item.backend)
        if item.take is not None:
            if item.backend in self.faults:
                return VolumeReport(item.id, "ready", 0, not_taken=item.take)
            self.sizes[item.id] = item.size_gib
            return VolumeReport(item.id, "ready", item.size_gib, is_shared=item.is_shared, taken=item.take)
        if item.give is not None and "give" in self.faults:
            return VolumeReport(item.id, "ready", self.sizes[item.id], not_given=item.give)
        if item.manage is None:
            return None
        found = self.idle.pop(item.manage, None)
        if found is not None:
            self.sizes[item.id] = found.size_gib
        size = self.sizes.get(item.id)
        return VolumeReport(item.id, "error", 0, fault="no such disk") if size is None else VolumeReport(
            item.id, "ready", size, is_shared=item.is_shared
        )  # fmt: skip

    def _snapshot(self, item: IntentSnapshot) -> SnapshotReport | None:
        """The same of a snapshot."""
        name = f"unmanaged-{item.id}"
        if item.is_let_go:
            self.idle[name] = Unmanaged("snapshot", name, 1, source=f"volume-{item.volume_id}")
            return SnapshotReport(item.id, "ready", is_let_go=True)
        if item.manage is None:
            return None
        found = self.idle.pop(item.manage, None)
        return SnapshotReport(item.id, "ready") if found is not None else SnapshotReport(item.id, "error", "none")

    async def _take(self, message: dict[str, Any]) -> None:
        """What the hub sends."""
        if message["type"] == "websocket.accept":
            self.accepted = True
        elif message["type"] == "websocket.close":
            self.closed = message["code"]
        else:
            await self._handle(_DECODER.decode(message["text"]))
        async with self._progress:
            self._progress.notify_all()

    async def _handle(self, item: ToAgent) -> None:
        self.messages.append(item)
        if self._keeps is not None:
            del self.messages[: -self._keeps]
        if isinstance(item, Ask):
            await self.say(self.answers(item))
            return
        self._gone += item.gone
        if isinstance(item, Snapshot):
            self.objects = {key_of(one): one for one in item.objects}
        else:
            assert isinstance(item, Change)
            for key in item.gone:
                self.objects.pop(key, None)
                self._reported.pop(key, None)
            self.objects |= {key_of(one): one for one in item.objects}
        if item.more:
            return
        self.revision = item.revision
        if self.obedient:
            await self.report()
