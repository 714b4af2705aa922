"""Questions and orders to a running ovs-vswitchd, as `ovs-appctl` gives them: JSON-RPC on its control socket.

The socket's name holds the process id, so a switch that was restarted is another socket. Nothing is kept here but the
connection, and no program is started.

Source: ovs-appctl(8), openvswitch/ovs lib/unixctl.c.
"""

from __future__ import annotations

import json
import socket
import time

from deuteron.net.kernel.driver import KernelError, Unavailable
from deuteron.net.kernel.programs import is_readable

_ANSWER_TIMEOUT_S = 10.0


class SwitchControl:
    """One connection to ovs-vswitchd, opened when it is needed. Belongs to one thread."""

    def __init__(self, run_dir: str = "/run/openvswitch") -> None:
        self._run_dir = run_dir
        self._path = ""
        self._socket: socket.socket | None = None

    def ask(self, command: str, *arguments: str) -> str:
        """What `ovs-appctl COMMAND ARGUMENTS` prints.

        Raises: KernelError in the switch's words if it refuses, Unavailable if it does not answer.
        """
        connection = self._connected()
        try:
            connection.sendall(_request(command, *arguments))
            answer = _message(connection)
        except OSError as error:
            self.close()
            raise Unavailable(f"ovs-vswitchd does not answer {command}: {error}") from error
        if answer.get("error") is not None:
            raise KernelError(f"ovs-vswitchd refuses {command}: {str(answer['error']).strip()}")
        return str(answer["result"])

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def begin(self, command: str) -> None:
        """Give an order and do not wait; no other may be given before `is_over` says so.

        Raises: Unavailable if the switch is not there.
        """
        try:
            self._connected().sendall(_request(command))
        except OSError as error:
            self.close()
            raise Unavailable(f"ovs-vswitchd does not take {command}: {error}") from error

    def is_over(self) -> bool:
        """Whether the switch has answered what was begun, in whatever words, or is gone."""
        if self._socket is None:
            return True
        if not is_readable(self._socket.fileno(), 0.0):
            return False
        try:
            _message(self._socket)
        except OSError:
            self.close()
        return True

    def _connected(self) -> socket.socket:
        try:
            with open(f"{self._run_dir}/ovs-vswitchd.pid", encoding="ascii") as file:
                path = f"{self._run_dir}/ovs-vswitchd.{int(file.read())}.ctl"
        except (OSError, ValueError) as error:
            self.close()
            raise Unavailable("ovs-vswitchd is not running") from error
        if self._socket is not None and path == self._path:
            return self._socket
        self.close()
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        opened.settimeout(_ANSWER_TIMEOUT_S)
        try:
            opened.connect(path)
        except OSError as error:
            opened.close()
            raise Unavailable(f"cannot reach ovs-vswitchd at {path}: {error.strerror}") from error
        self._socket, self._path = opened, path
        return opened


class Sweeps:
    """Whether the switch has gone through its datapath's cache since a moment: until then, what changed flows no longer
    let in may still pass by an old entry. That takes the switch up to half a second, and nobody waits for it here.

    Source: openvswitch/ovs ofproto/ofproto-dpif-upcall.c, `revalidator/wait`.
    """

    def __init__(self, control: SwitchControl) -> None:
        """`control` is for this object alone."""
        self._control = control
        self._begun = 0
        self._ended = 0
        self._wanted = 0

    def begin(self) -> int:
        """The number of a sweep that begins from now on.

        Raises: Unavailable if the switch is not there.
        """
        self._catch_up()
        if self._begun == self._ended:
            self._start()
            return self._begun
        self._wanted = self._begun + 1
        return self._wanted

    def is_over(self, number: int) -> bool:
        """Raises: Unavailable if the switch is not there, and the sweep has not begun yet."""
        self._catch_up()
        return self._ended >= number

    def close(self) -> None:
        self._control.close()

    def _catch_up(self) -> None:
        if self._begun > self._ended and self._control.is_over():
            self._ended = self._begun
            if self._wanted > self._begun:
                self._start()

    def _start(self) -> None:
        self._control.begin("revalidator/wait")
        self._begun += 1


def _request(command: str, *arguments: str) -> bytes:
    return json.dumps({"id": 0, "method": command, "params": list(arguments)}).encode()


def _message(connection: socket.socket) -> dict[str, object]:
    """The next JSON object. Raises: OSError if none comes in time."""
    deadline = time.monotonic() + _ANSWER_TIMEOUT_S
    data = bytearray()
    while True:
        chunk = connection.recv(1 << 20)
        if not chunk:
            raise ConnectionResetError("it closed the connection")
        data += chunk
        if data.rstrip().endswith(b"}"):
            try:
                return json.loads(data)  # type: ignore[no-any-return]  # JSON-RPC: an object
            except ValueError:
                pass  # the end of something inside
        if time.monotonic() > deadline:
            raise TimeoutError("its answer does not end")
