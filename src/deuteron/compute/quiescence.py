"""File systems of guests that stand still while their disk is copied: frozen and thawed by the agent in the guest.

Mark: the file `frozen` in the server's folder, there from before the guest is asked to freeze until it has thawed. Who
dies in between leaves it, and the guest is thawed once it runs and nothing else is to be done (`Step.THAW`).

Source: nova/virt/libvirt/driver.py `_set_quiesced`, `_can_quiesce`, `_requires_quiesce`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import libvirt
import structlog

from deuteron.compute.images import InstanceFiles
from deuteron.compute.libvirtd import Libvirtd, ServerFailure
from deuteron.model.intent import IntentServer

MARK: Final = "frozen"
ANSWER_TIMEOUT_S: Final = 10
"""How long an agent may take; before that, libvirt gives it 5 s to say that it is there."""
_NEVER_ASKED: Final = (libvirt.VIR_ERR_AGENT_UNRESPONSIVE, libvirt.VIR_ERR_OPERATION_INVALID)
"""No agent was there to hear it."""

log = structlog.get_logger("deuteron.compute")


class Quiescence:
    """Of the guests of one host. Any thread may call it, for one server one at a time."""

    def __init__(self, libvirtd: Libvirtd, files: InstanceFiles) -> None:
        self._libvirtd = libvirtd
        self._files = files

    def is_frozen(self, server_id: str) -> bool:
        """Whether the guest was asked to freeze, and has not said that it thawed."""
        return (self._files.path(server_id) / MARK).exists()

    @contextlib.contextmanager
    def frozen(self, server: IntentServer, dom: libvirt.virDomain) -> Iterator[None]:
        """While it lasts the running guest's file systems stand still, where its image says that it has an agent.

        Raises: ServerFailure where they cannot, and the image demands it.
        """
        is_frozen = server.hardware.has_agent_channel and self._freeze(server, dom)
        if server.must_quiesce and not is_frozen:
            raise ServerFailure("no agent in the guest froze its file systems, which its image demands of images of it")
        try:
            yield
        finally:
            if is_frozen:
                with contextlib.suppress(libvirt.libvirtError):
                    self.thaw(server.id)

    def thaw(self, server_id: str) -> None:
        """Nothing for a guest that has ended. Raises: libvirtError."""
        dom = self._libvirtd.find(server_id)
        if dom is not None and dom.isActive():
            dom.agentSetResponseTimeout(ANSWER_TIMEOUT_S)
            dom.fsThaw()
        (self._files.path(server_id) / MARK).unlink(missing_ok=True)

    def _freeze(self, server: IntentServer, dom: libvirt.virDomain) -> bool:
        mark = self._files.path(server.id) / MARK
        mark.touch()
        try:
            dom.agentSetResponseTimeout(ANSWER_TIMEOUT_S)
            dom.fsFreeze()
        except libvirt.libvirtError as error:
            log.info("not quiesced", server=server.id, reason=str(error))
            if error.get_error_code() in _NEVER_ASKED:
                mark.unlink()
            return False
        return True
