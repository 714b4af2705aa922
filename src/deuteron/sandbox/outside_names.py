"""What the dnsmasq of the host `outside` reads: names with their addresses, and the stations that DHCP leaves alone.

A station that the cloud gives an address to would be refused with any other by its port's protection against spoofing.

Crash: files are replaced whole, and dnsmasq reads them when it starts. It is told of each change (SIGHUP); the marker
`unapplied` is there from before the first file of a change until then, so that a crash between is made good.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from deuteron.model.outside import Neighbourhood, OutsideSettings

from .outside_services import NAMES, PID_FILE, PROCESS, STATIONS

_UNAPPLIED = "unapplied"


def files(neighbourhood: Neighbourhood, records: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """The files by name. What the topology names keeps its address, whatever the cloud calls so."""
    own = {name for name, _ in records}
    names = [*records, *((name, address) for name, address in neighbourhood.names if name not in own)]
    return {
        NAMES: "".join(f"{address} {name}\n" for name, address in names),
        STATIONS: "".join(f"{mac},ignore\n" for mac in neighbourhood.stations),
    }


class Scribe:
    """Keeps the files as the last answer says; does nothing while it stays the same."""

    def __init__(self, settings: OutsideSettings, pid_file: Path = Path(PID_FILE)) -> None:
        self._folder = Path(settings.services)
        self._records = settings.records
        self._pid_file = pid_file

    def begin(self) -> None:
        """Have files, so that dnsmasq can start: those of last time, or the names that are known without the API."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        # The names come last: once they are there, dnsmasq is started.
        for name, text in reversed(files(Neighbourhood(), self._records).items()):
            if not (self._folder / name).exists():
                self._write(name, text)

    def follow(self, neighbourhood: Neighbourhood) -> bool:
        """Whether dnsmasq was told of a change. Raises: OSError."""
        marker = self._folder / _UNAPPLIED
        wanted = files(neighbourhood, self._records)
        stale = {name: text for name, text in wanted.items() if (self._folder / name).read_text() != text}
        if not stale and not marker.exists():
            return False
        marker.touch()
        for name, text in stale.items():
            self._write(name, text)
        pid = self._dnsmasq()
        if pid is not None:
            os.kill(pid, signal.SIGHUP)
        marker.unlink()
        return pid is not None

    def _write(self, name: str, text: str) -> None:
        new = self._folder / f".{name}.new"
        new.write_text(text)
        new.replace(self._folder / name)

    def _dnsmasq(self) -> int | None:
        """Its process; None while it does not run: it reads everything when it starts."""
        try:
            pid = int(self._pid_file.read_text())
            called = Path(f"/proc/{pid}/comm").read_text().strip()
        except (OSError, ValueError):
            return None
        return pid if called == PROCESS else None
