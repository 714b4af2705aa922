"""What can stop a cloud from starting, as exceptions the command line prints in two lines.

SandboxError              message, and a hint on its own line
├── TopologyError         the topology file does not describe a cloud
├── StateError            the state folder is not usable, or belongs to another cloud or version
├── NamespaceError        the kernel refuses what the sandbox is made of
└── SupervisorError       the supervisor did not start, or does not answer
"""

from __future__ import annotations


class SandboxError(Exception):
    code = "sandbox.failed"

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class TopologyError(SandboxError):
    code = "topology.invalid"


class StateError(SandboxError):
    code = "state.unusable"


class NamespaceError(SandboxError):
    code = "namespace.refused"


class SupervisorError(SandboxError):
    code = "supervisor.failed"
