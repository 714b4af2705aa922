"""Packages of the distribution, fetched and unpacked without being root and without installing anything.

`apt-get download` needs no privileges and checks the archive's signatures; `dpkg-deb` unpacks anywhere. What
apt cannot do without root is refresh its lists, so that is the one thing the user may be asked for.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


class PackagesUnavailable(Exception):
    """The distribution's packages cannot be had; the message says which, `hint` what to do about it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True)
class Package:
    """What apt would install under a name: the real version, and the names it depends on (first alternatives)."""

    name: str
    version: str
    depends: tuple[str, ...]


_UPDATE_HINT = "run `apt-get update` as root once, then try again"


def describe(names: Iterable[str]) -> dict[str, Package]:
    """The candidate version of each of `names` that apt knows; unknown names are left out.

    Raises: PackagesUnavailable if there is no apt.
    """
    wanted = sorted(set(names))
    if not wanted:
        return {}
    shown = _run(["apt-cache", "show", "--no-all-versions", *wanted], check=False)
    return parse_show(shown)


def parse_show(text: str) -> dict[str, Package]:
    """Packages from the output of `apt-cache show`."""
    found: dict[str, Package] = {}
    for paragraph in text.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", paragraph, re.MULTILINE))
        if "Package" not in fields:
            continue
        listed = ", ".join(fields[key] for key in ("Pre-Depends", "Depends") if key in fields)
        depends = tuple(re.split(r"[ (:|]", part.strip())[0] for part in listed.split(",") if part.strip())
        found.setdefault(fields["Package"], Package(fields["Package"], fields["Version"], depends))
    return found


def with_libraries(names: Iterable[str], also: str = "") -> dict[str, Package]:
    """The packages and, recursively, the packages they depend on that hold libraries, or whose name matches `also`.

    Raises: PackagesUnavailable if one of `names` is not known to apt.
    """
    asked = sorted(set(names))
    # Opening apt's lists takes most of a second, so everything that could be needed is asked for at once.
    hard = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
    listed = _run(["apt-cache", "depends", "--recurse", *hard, *asked], check=False)
    known = describe({*asked, *re.findall(r"^([a-z0-9][a-z0-9+.-]*)$", listed, re.MULTILINE)})
    missing = [name for name in asked if name not in known]
    if missing:
        raise PackagesUnavailable(f"cannot build the tiny guest: apt does not know {', '.join(missing)}", _UPDATE_HINT)
    wanted = re.compile(rf"(lib|zlib).*|{also}" if also else "(lib|zlib).*")
    found: dict[str, Package] = {}
    pending = set(asked)
    while pending:
        found |= {name: known[name] for name in pending}
        pending = {
            name
            for package in found.values()
            for name in package.depends
            if name in known and name not in found and wanted.fullmatch(name)
        }
    return found


def fetch(packages: Mapping[str, Package], folder: Path) -> tuple[Path, ...]:
    """Downloads the packages into `folder` and returns the paths of the `.deb` files.

    Raises: PackagesUnavailable with apt's own words if a download fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pinned = [f"{package.name}={package.version}" for package in packages.values()]
    # Sandbox::User: when root runs this, apt would otherwise fetch as `_apt`, who may not write into `folder`.
    command = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *pinned]
    _run(command, cwd=folder)
    return tuple(sorted(folder.glob("*.deb")))


def unpack(archives: Iterable[Path], folder: Path) -> None:
    """Unpacks the files of the archives, of all into the same tree, without running their scripts."""
    folder.mkdir(parents=True, exist_ok=True)
    for archive in archives:
        _run(["dpkg-deb", "-x", str(archive), str(folder)])


def _run(command: list[str], check: bool = True, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, check=False, env=_PLAIN_ENVIRONMENT, timeout=600
        )
    except FileNotFoundError as error:
        raise PackagesUnavailable(
            f"cannot build the tiny guest: there is no {command[0]}", "the recipe needs Debian 12 or Ubuntu 24.04"
        ) from error
    if check and done.returncode != 0:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        raise PackagesUnavailable(
            f"cannot build the tiny guest: {' '.join(command[:4])} … failed: {' / '.join(reason)}",
            f"{_UPDATE_HINT}, and check that the package mirror can be reached",
        )
    return done.stdout


# apt's words are parsed and shown, so they stay in one language. Proxies are apt's own configuration.
_PLAIN_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
