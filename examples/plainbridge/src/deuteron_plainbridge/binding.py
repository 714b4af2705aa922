"""The half that the API asks. It imports the contract and nothing that touches a host."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from deuteron.net.mechanisms.contract import (
    AgentKind,
    Binding,
    HostFacts,
    PortToBind,
    Refusal,
    Segment,
    Step,
    StepFailed,
    listed,
)

REGISTER = Path("open-ports")
"""In the folder where the API runs, `STATE/api`."""


class PlainBridge(msgspec.Struct, frozen=True):
    """Binds ports without port security to flat and VLAN networks that the host has a bridge for."""

    @property
    def name(self) -> str:
        return "plainbridge"

    @property
    def agent(self) -> AgentKind:
        return AgentKind("plainbridge-agent", "Plain bridge agent")

    @property
    def wires_services(self) -> bool:
        return False

    def bind(self, port: PortToBind, segment: Segment, host: HostFacts) -> Binding | Refusal:
        if port.vnic_type != "normal":
            return Refusal(
                f'vnic_type "{port.vnic_type}" is not supported (supported: normal)',
                hint="create the port with --vnic-type normal",
            )
        if port.port_security_enabled:
            return Refusal(
                "it does not filter, and the port has port security",
                hint="create the port with --no-security-group --disable-port-security",
            )
        if segment.network_type not in ("flat", "vlan"):
            return Refusal(f'network type "{segment.network_type}" is not supported (supported: flat, vlan)')
        if segment.physical_network not in host.bridge_mappings:
            return Refusal(
                f'no bridge for physical network "{segment.physical_network}" (mapped: {listed(host.bridge_mappings)})'
            )
        return Binding(
            mechanism=self.name,
            vif_type="tap",
            vif_details={"connectivity": "l2", "port_filter": False},
            segment=segment,
        )

    def agent_configurations(self, host: HostFacts, devices: int) -> dict[str, object]:
        return {"bridge_mappings": dict(host.bridge_mappings), "devices": devices}

    def after_commit(self, step: Step) -> None:
        """Keep the register of ports that nothing filters, for whoever audits them: a file while it exists."""
        if step.kind != "port" or step.values["port_security_enabled"] or step.values["device_owner"] == "network:dhcp":
            return
        entry = REGISTER / f"{step.id}.json"
        if step.action == "delete":
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                entry.unlink()
            return
        try:
            REGISTER.mkdir(exist_ok=True)
            entry.write_bytes(msgspec.json.encode(step.values))
        except OSError as error:
            raise StepFailed(f"cannot register the open port: {error}") from error


def plainbridge() -> PlainBridge:
    return PlainBridge()
