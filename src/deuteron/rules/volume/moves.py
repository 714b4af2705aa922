"""Volumes that go to another back end: of their host, or of another host, through the API.

On one host, it copies the data from the one back end to the other and says so. To another host:

    asked       -> row: task move, `move` says where to
    old host    -> packs the volume, gives it to the API; it stays as it was
    `given`     -> `other_host` is the new host, which takes it from the API, and says so
    `arrived`   -> in one transaction the volume is the new host's, and `other_host` the one that it left
    other host  -> ends what the one back end has, and says so: there is no other host any more

What cannot be had, or not be made there, is given up: the volume stays what and where it is, and the new host is the
one that it left. Which back end is to have nothing is always said: another of the same host may be one of the network,
by which the volume is reached where it is. A volume is locked on its way, and nobody has it: its data have to stand
still.

Source: cinder/volume/api.py `migrate_volume`, `migrate_volume_completion`; cinder/volume/manager.py `migrate_volume`.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Final

from sqlalchemy import select

from deuteron.model.codecs import quoted
from deuteron.model.errors import BadRequest
from deuteron.model.intent import VolumeReport
from deuteron.model.settings import Settings
from deuteron.model.volume import VOLUME
from deuteron.model.volume.rows import VolumeRow, VolumeTypeRow
from deuteron.rules.volume import attachments, faults, kinds, loads, messages, placement, types, volumes
from deuteron.rules.volume.placement import Service
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.volume_tables import volumes as volumes_table

LOCKED = "maintenance"
_LEFT: Final = ("left", "left_host")
"""What `move` says of the back end that is to have nothing any more."""
TASKS: Final = ("move", faults.TRAVEL)
"""Of a volume that goes by itself, and of one that goes after its server (`travels`)."""


def folder(settings: Settings) -> Path:
    """Where the API keeps volumes on their way, each move's in a file of its id."""
    return Path(settings.state_dir) / "volume-moves"


def bootstrap(tx: Tx, settings: Settings) -> None:
    """Make the folder, and remove what a crash left in it. Run at every start, before requests are served."""
    place = folder(settings)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    moving = tx.scalars(select(volumes_table.c.move).where(volumes_table.c.task.in_(TASKS)))
    wanted = {move["id"] for move in moving if move is not None and "to_host" in move}
    for entry in place.iterdir():
        if entry.name not in wanted:
            entry.unlink()


def migrate(tx: Tx, settings: Settings, request_id: str, row: VolumeRow, named: str) -> None:
    """Have the service keep it that is called HOST@BACKEND, or as its pool is; where that cannot, nothing changes but
    what the volume says of its migration.

    Raises: BadRequest for a service that is not there, and in no state for it; NotBuilt while a server has it.
    """
    found = next((each for each in placement.services(tx, settings) if named in (each.name, each.pool)), None)
    if found is None or not found.is_up or found.is_disabled:
        raise BadRequest(f"Invalid host: No available service named '{quoted(named)}'", type="InvalidHost")
    if row["status"] == "in-use":
        raise faults.not_built("Migrating a volume that a server has", "Detach it first.")
    is_same = (row["host"], row["backend"]) == (found.host.name, found.backend.name)
    is_busy = row["task"] is not None or row["move"] is not None or attachments.of_volume(tx, row["id"])
    if row["status"] != "available" or is_busy or row["group_id"] or volumes.snapshots_of(tx, row) or is_same:
        raise faults.invalid_volume(
            f"Volume {row['id']} status must be available or in-use, must not be migrating, have snapshots, be "
            "replicated, be part of a group and destination host/cluster must be different than the current one"
        )
    _refuse_copied(tx, row)
    _refuse_reached(row, found)
    specs = types.specs_of(tx, row["volume_type_id"])
    if not placement.fits(tx, settings, found, row["size"], specs):
        kinds.change(tx, VOLUME, row, {"migration_status": "error"})
        messages.tell(tx, row["project_id"], messages.NO_BACKEND, row["id"], request_id=request_id)
        return
    _begin(tx, request_id, row, found, row["volume_type_id"], is_shared=row["multiattach"], status=LOCKED)


def retype(tx: Tx, settings: Settings, request_id: str, row: VolumeRow, kind: VolumeTypeRow) -> bool:
    """Have another back end keep it, which is what the type demands, of its host if one there is; False where none is.

    Raises: BadRequest for one that something else needs where it is.
    """
    specs = kind["extra_specs"]
    chosen = placement.choose(tx, settings, row["size"], specs, row["host"])
    chosen = chosen or placement.choose(tx, settings, row["size"], specs)
    if chosen is None:
        return False
    if volumes.snapshots_of(tx, row):
        raise faults.invalid_volume("Volume must not have snapshots.")
    if row["move"] is not None:
        raise faults.invalid_volume(f"volume {row['id']} was moved, and something of it is still to be removed")
    _refuse_copied(tx, row)
    _refuse_reached(row, chosen)
    _begin(tx, request_id, row, chosen, kind["id"], is_shared=types.is_multiattach(kind), status="retyping")
    return True


def complete(tx: Tx, row: VolumeRow, other: VolumeRow) -> str:
    """What Cinder's own services, and Nova's, ask when they copied a volume into another: nothing here is between two
    volumes, so there is nothing to complete. Raises: BadRequest; NotBuilt for a volume that a server has."""
    if not row["migration_status"] and not other["migration_status"]:
        if attachments.of_volume(tx, row["id"]):
            raise faults.not_built("Putting another volume in place of one that a server has")
        return other["id"]
    if not row["migration_status"]:
        raise faults.invalid_volume("Source volume not mid-migration.")
    if not other["migration_status"]:
        raise faults.invalid_volume("Destination volume not mid-migration.")
    raise faults.invalid_volume(
        f"Destination has migration_status {other['migration_status']}, expected target:{row['id']}."
    )


def of_report(tx: Tx, row: VolumeRow, host: str, report: VolumeReport) -> None:
    """What one of the two hosts says of a volume on its way."""
    asked = row["move"] or {"id": ""}
    if host == row["host"]:
        if report.moved == asked["id"]:
            arrived(tx, row)
        elif asked["id"] in (report.not_moved, report.not_given) or report.state == "error":
            give_up(tx, row)
    elif report.taken == asked["id"]:
        arrived(tx, row)
    elif report.not_taken == asked["id"]:
        give_up(tx, row)


def is_left(row: VolumeRow, host: str, report: VolumeReport) -> bool:
    """Whether a host says that what it was to have nothing of is gone."""
    asked = row["move"] or {}
    return "left" in asked and asked["left"] == report.left and asked.get("left_host", row["host"]) == host


def giving(tx: Tx, host: str, move_id: str) -> VolumeRow | None:
    """The volume that the host gives away by this move."""
    rows = query.rows(tx, volumes_table, volumes_table.c.host == host, volumes_table.c.task.in_(TASKS))
    return next((row for row in rows if _is(row, move_id)), None)


def is_taking(tx: Tx, host: str, move_id: str) -> bool:
    """Whether the host makes a volume of what the API was given by this move."""
    rows = query.rows(tx, volumes_table, volumes_table.c.other_host == host, volumes_table.c.task.in_(TASKS))
    return any(_is(row, move_id) for row in rows)


def given(tx: Tx, host: str, move_id: str) -> None:
    """The API has the data."""
    row = giving(tx, host, move_id)
    if row is None:
        tx.changed("volume_move", move_id, deleted=True)
    else:
        kinds.change(tx, VOLUME, row, {"other_host": (row["move"] or {})["to_host"]})


def give_up(tx: Tx, row: VolumeRow) -> None:
    """It stays what and where it is."""
    kinds.change(tx, VOLUME, row, {"status": "available", "task": None, **given_up(tx, row)})
    messages.tell(tx, row["project_id"], messages.UNKNOWN, row["id"], request_id=row["request_id"])


def given_up(tx: Tx, row: VolumeRow) -> dict[str, object]:
    """What the row says of a move that is over before its end: the other host is to have nothing of it."""
    asked = row["move"] or {}
    if "to_host" not in asked:
        return {"migration_status": "error", "move": None}
    tx.changed("volume_move", asked["id"], deleted=True)
    if row["other_host"] is None:
        return {"migration_status": "error", "move": None}
    return {"migration_status": "error", "move": {"left_host": row["other_host"], "left": asked["to"]}}


def is_coming(row: VolumeRow) -> bool:
    """Whether the other host is to make it of what the API was given; or else, whether it is to have nothing of it."""
    return row["task"] in TASKS


def is_at_two(tx: Tx, row: VolumeRow, host: str) -> bool:
    """Nothing is left on a host of a volume that is being deleted: whether another may have something still, for which
    the row then waits."""
    if row["other_host"] is None or host not in (row["host"], row["other_host"]):
        return False
    if host == row["other_host"]:
        kinds.change(tx, VOLUME, row, {"other_host": None, "move": None})
        return True
    asked = row["move"] or {}
    gib = row["new_size"] or row["size"]
    backend = asked.get("to", asked.get("left"))
    loads.count_on_service(tx, row["host"], row["backend"], -gib)
    loads.count_on_service(tx, row["other_host"], backend, gib)
    kinds.change(tx, VOLUME, row, {"host": row["other_host"], "backend": backend, "other_host": None, "move": None})
    return True


def _is(row: VolumeRow, move_id: str) -> bool:
    asked = row["move"] or {}
    return "to_host" in asked and asked["id"] == move_id


def _begin(
    tx: Tx, request_id: str, row: VolumeRow, to: Service, type_id: str | None, *, is_shared: bool, status: str
) -> None:
    asked: dict[str, object] = {
        "id": str(uuid.uuid4()),
        "to": to.backend.name,
        "pool": to.backend.pool_name,
        "type_id": type_id,
        "is_shared": is_shared,
    }
    if to.host.name != row["host"]:
        asked["to_host"] = to.host.name
    values = {"status": status, "migration_status": "migrating", "task": "move", "move": asked}
    kinds.change(tx, VOLUME, row, {**values, "request_id": request_id})


def arrived(tx: Tx, row: VolumeRow) -> None:
    """The other back end has its data: it is there now, and of the type that was asked for."""
    asked = row["move"] or {}
    host = asked.get("to_host", row["host"])
    typed = of_type(tx, row, asked["type_id"])
    loads.count_on_service(tx, row["host"], row["backend"], -row["size"])
    loads.count_on_service(tx, host, asked["to"], row["size"])
    is_far = host != row["host"]
    if is_far:
        tx.changed("volume_move", asked["id"], deleted=True)
    values = {
        # One that goes after its server stays in use.
        "status": "available" if row["task"] == "move" else row["status"],
        "migration_status": "success",
        "task": None,
        "host": host,
        "backend": asked["to"],
        "pool": asked["pool"],
        **typed,
        "multiattach": asked["is_shared"],
        "move": {"left": row["backend"], **({"left_host": row["host"]} if is_far else {})},
        "other_host": row["host"] if is_far else None,
    }
    kinds.change(tx, VOLUME, row, values)


def of_type(tx: Tx, row: VolumeRow, type_id: str | None) -> dict[str, object]:
    """What the row says of its type, once it has this one; it is counted as one of it."""
    if type_id != row["volume_type_id"]:
        loads.count_type(tx, row["project_id"], row["volume_type_id"], -1, -row["size"])
        loads.count_type(tx, row["project_id"], type_id, 1, row["size"])
    return {"volume_type_id": type_id}


def retyped(tx: Tx, row: VolumeRow, *, is_shared: bool) -> bool:
    """Its host keeps it as one that several servers may have, or not: whether that is what its new type asks for, which
    it has from now on."""
    if is_shared != is_to_be_shared(row):
        return False
    typed = of_type(tx, row, (row["move"] or {}).get("type_id", row["volume_type_id"]))
    values = {"status": "available", "task": None, "multiattach": is_shared, "move": still_left(row), **typed}
    kinds.change(tx, VOLUME, row, values)
    return True


def still_left(row: VolumeRow) -> dict[str, object] | None:
    """What a row that takes another type goes on to say: where some of it is still to be removed."""
    return {name: value for name, value in (row["move"] or {}).items() if name in _LEFT} or None


def is_to_be_shared(row: VolumeRow) -> bool:
    """Whether its host is to keep it as one that several servers may have."""
    asked = row["move"] or {}
    return bool(asked.get("is_shared", row["multiattach"])) if row["task"] == "retype" else bool(row["multiattach"])


def after_leaving(row: VolumeRow) -> dict[str, object]:
    """What the row says once nothing is left where it was moved from."""
    asked = row["move"] or {}
    rest = {name: value for name, value in asked.items() if name not in _LEFT} if row["task"] == "retype" else {}
    return {"move": rest or None, "other_host": None}


def _refuse_copied(tx: Tx, row: VolumeRow) -> None:
    if query.first(tx, volumes_table, volumes_table.c.source_volid == row["id"], volumes_table.c.task == "create"):
        raise faults.invalid_volume(f"volume {row['id']} is being copied, and stays where it is until that is done")


def _refuse_reached(row: VolumeRow, to: Service) -> None:
    """Raises: BadRequest where the data are at the place already that they were to go to."""
    if to.backend.is_networked and to.backend.name == row["backend"]:
        raise faults.invalid_volume(
            f"volume {row['id']} is kept by back end {to.backend.name} of the network, which host {to.host.name} "
            "reaches as well: there is nothing to move"
        )
