"""What a running guest itself is asked, through libvirt, by whoever waits for the answer. Nothing of it is kept.

Source: nova/virt/libvirt/driver.py `trigger_crash_dump`, `set_admin_password`.
"""

from __future__ import annotations

import libvirt

from deuteron.compute import quiescence
from deuteron.compute.contract import AgentRefused, NotRunning
from deuteron.compute.figures import figures_of
from deuteron.compute.libvirtd import Libvirtd
from deuteron.model.intent import GuestFigures


class Guests:
    """Of one host. Any thread may ask; each method raises NotRunning where no guest of the server runs."""

    def __init__(self, libvirtd: Libvirtd, host: str, virt_type: str) -> None:
        self._libvirtd = libvirtd
        self._host = host
        self._virt_type = virt_type

    def diagnostics(self, server_id: str) -> GuestFigures:
        try:
            dom = self._libvirtd.find(server_id)
            found = None if dom is None else figures_of(dom, self._virt_type)
        except libvirt.libvirtError as error:
            raise NotRunning(f"server {server_id} cannot be looked at on host {self._host}: {error}") from error
        if found is None:
            raise NotRunning(f"server {server_id} does not run on host {self._host}")
        return found

    def inject_nmi(self, server_id: str) -> None:
        try:
            self._running(server_id).injectNMI()
        except libvirt.libvirtError as error:
            raise NotRunning(f"server {server_id} cannot be interrupted on host {self._host}: {error}") from error

    def set_password(self, server_id: str, user: str, password: str) -> bool:
        """False where no agent answers. Raises: NotRunning, AgentRefused, whose text may be the guest's own."""
        try:
            dom = self._running(server_id)
            dom.agentSetResponseTimeout(quiescence.ANSWER_TIMEOUT_S)
            dom.setUserPassword(user, password)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_AGENT_UNRESPONSIVE:
                return False
            raise AgentRefused(f"the password of server {server_id} was not set: {error}") from error
        except ValueError as error:  # a zero byte ends texts for libvirt
            raise AgentRefused(f"the password of server {server_id} cannot be told to its guest") from error
        return True

    def _running(self, server_id: str) -> libvirt.virDomain:
        """Raises: NotRunning, libvirtError."""
        dom = self._libvirtd.find(server_id)
        if dom is None or not dom.isActive():
            raise NotRunning(f"server {server_id} does not run on host {self._host}")
        return dom
