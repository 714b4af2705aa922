"""What a topology asks of packages: mechanisms and volume drivers, refused by `deuteron up` where they do not fit."""

from __future__ import annotations

import sys

from deuteron.cli.options import Refused
from deuteron.net.mechanisms import UnknownMechanism, mechanisms_by_name
from deuteron.sandbox.backends import Common
from deuteron.sandbox.errors import TopologyError
from deuteron.sandbox.lines import line_of_backend
from deuteron.sandbox.topology import Topology


def refuse_unknown_mechanisms(topology: Topology) -> None:
    """Here already, although the API and each agent refuse them too: their words would be in logs."""
    # Only `up` needs what runs on hosts, and it takes a moment to load.
    from deuteron.net.mechanisms.wiring import host_mechanisms_by_name

    try:
        mechanisms_by_name(topology.mechanism_drivers)
        host_mechanisms_by_name(topology.mechanism_drivers)
    except UnknownMechanism as error:
        hint = f"install the package that offers it: {sys.executable} -m pip install --no-deps FOLDER"
        raise Refused(str(error), hint) from error


def refuse_wrong_backends(topology: Topology, text: str, source: str) -> None:
    """Each driver judges what its back ends are told; a host could only say later that they are away.

    Raises: TopologyError, which shows keys and no values: some are secrets.
    """
    # Only `up` needs what keeps volumes.
    from deuteron.volume.registry import UnknownDriver, WrongOptions, checked_options

    for backend in {each.name: each for host in topology.hosts for each in host.volume_backends}.values():
        place = f"[volume.backends.{backend.name}] of {source}"
        try:
            checked_options(backend.driver, backend.options)
        except UnknownDriver as error:
            where = line_of_backend(text, backend.name, f'driver "{backend.driver}"')
            hint = f"install the package that offers it: {sys.executable} -m pip install --no-deps FOLDER"
            raise TopologyError(f"cannot use {place}: {error}{where}", hint) from error
        except WrongOptions as error:
            where = line_of_backend(text, backend.name, str(error))
            own = f"driver {backend.driver} has {', '.join(error.accepted) or 'no keys of its own'}"
            raise TopologyError(
                f"cannot use {place}: {error}{where}",
                f"{own}; every back end has {', '.join(Common.__struct_fields__)}",
            ) from None
