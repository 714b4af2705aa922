"""What Python runs first in tempest's processes: connections to addresses outside of the sandbox go through it.

Floating IPs are addresses of the sandbox's host `outside`, which tempest, beside the sandbox, has no route to. A
connection to one becomes a pair of sockets, with a process of `outside` at the other end that makes the real one. All
else is as it would be.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import subprocess
from typing import Any

_VARIABLE = "DEUTERON_TEMPEST_WAY"
"""Networks, and the command to which an address and a port are added."""


def _divert(networks: list[str], command: list[str]) -> None:
    there = [ipaddress.ip_network(each) for each in networks]
    direct = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_INET or not any(ipaddress.ip_address(address[0]) in each for each in there):
            direct(self, address)
            return
        ours, theirs = socket.socketpair()
        with ours, theirs:
            words = [*command, str(address[0]), str(address[1])]
            without = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", _VARIABLE)}
            subprocess.Popen(words, env=without, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL)
            os.dup2(ours.fileno(), self.fileno())
        # The file that it is now has to block, or not, as it says of itself.
        self.settimeout(self.gettimeout())

    socket.socket.connect = connect  # type: ignore[method-assign]  # all of this is to change what it does


if _VARIABLE in os.environ:
    _divert(**json.loads(os.environ[_VARIABLE]))
