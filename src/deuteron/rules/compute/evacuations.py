"""Evacuation: a server whose host is down is built anew on another, from its image.

Its disk stays where nobody reaches it; volumes of a back end that other hosts reach, the root among them, go along,
and those that the lost host keeps forbid it. The host that comes back removes what it has of the server, which is not
in its intent any more; one that was only called down (`forced_down`) does so at once. Who calls a host down sees to it
that it writes no more, as with Nova.

Source: nova/compute/api.py `evacuate`; nova/conductor/manager.py `rebuild_instance`.
"""

from __future__ import annotations

import msgspec

from deuteron.model.caller import Caller
from deuteron.model.compute import Flavor
from deuteron.model.errors import BadRequest, NotFound
from deuteron.model.settings import Settings
from deuteron.rules.compute import (
    drives,
    history,
    images,
    lifecycle,
    live_moves,
    loads,
    migrations,
    moves,
    moving_volumes,
    placement,
)
from deuteron.rules.compute.faults import never_active, wrong_state
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.rules.compute.placement import NoHost, Wish
from deuteron.rules.compute.states import require_unlocked
from deuteron.rules.hosts import registry
from deuteron.store.database import Tx

_STATES = ("active", "stopped", "error")


def evacuate(
    tx: Tx,
    settings: Settings,
    caller: Caller,
    request_id: str,
    row: ServerRow,
    host: str | None,
    password: str,
    *,
    stays_off: bool,
) -> None:
    """Build the server on `host`, or on any other that has room; with `stays_off` nobody starts it there.

    Raises: Conflict in a state in which it cannot be; BadRequest while its host is up, and for volumes that no other
    host reaches; NotFound for a host that is not there; NotBound.
    """
    require_unlocked(caller, row)
    if row.vm_state not in _STATES:
        raise wrong_state("evacuate", row.id, "vm_state", row.vm_state)
    if row.launched_at is None:
        raise never_active("evacuate", row.id)
    wish = _wish(tx, settings, row, host)
    flavor = msgspec.convert(row.flavor, Flavor)
    history.begin(tx, caller, request_id, row.id, "evacuate", row.host)
    chosen = placement.choose(
        placement.candidates(tx, settings),
        loads.loads(tx, row.group_id),
        flavor,
        placement.with_groups(tx, flavor, wish),
    )
    if isinstance(chosen, NoHost):
        lifecycle.fail(tx, row.id, chosen.message, "; ".join(chosen.reasons))
        return
    live_moves.drop(tx, settings, row)
    migrations.end(tx, row.id)  # a resize, which is over
    migrations.begin(tx, caller, row.id, migrations.EVACUATION, row.host, chosen, "accepted")
    moves.come(tx, settings, row, chosen)
    lifecycle.end_move(tx, row)
    images.drop_pending(tx, row.snapshot)
    lifecycle.set_server(
        tx,
        row.id,
        **drives.columns(bool(row.config_drive), False, (), password),
        build_generation=row.build_generation + 1,
        power="shutdown" if stays_off else "running" if row.vm_state == "error" else row.power,
        snapshot=None,
        shelved=None,
        rescue=None,
        # The disk to go back to is lost with the host, or nobody goes back to it.
        resize=None,
        restore=None,
        move=None,
        other_host=None,
        live=None,
        fault=None,
        task_state="rebuilding",
        state_reset=False,
    )


def _wish(tx: Tx, settings: Settings, row: ServerRow, host: str | None) -> Wish:
    """Raises: BadRequest, NotFound."""
    down = None if row.host is None else registry.find(tx, settings, row.host)
    if down is not None and down.compute_up:
        raise BadRequest(f"Compute service of {row.host} is still in use.", type="ComputeServiceInUse")
    if host is not None and registry.find(tx, settings, host) is None:
        raise NotFound(f"Compute host {host} could not be found.", type="ComputeHostNotFound")
    if host is not None and host == row.host:
        raise BadRequest("The target host can't be the same one.", type="HTTPBadRequest")
    beside = moving_volumes.hosts_to_go_to(tx, settings, row)
    wish = Wish(host, not_on=frozenset(() if row.host is None else (row.host,)), beside=beside)
    return placement.of_server(tx, settings, row, wish)
