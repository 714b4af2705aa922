"""A third party's mechanism as an installed package: a module and the metadata that names it, in a folder."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

MODULE = textwrap.dedent(
    """
    from deuteron.net.mechanisms.contract import AgentKind, Binding, Refusal

    class Pigeon:
        name = "pigeon"
        agent = AgentKind("pigeon-agent", "Pigeon agent")
        wires_services = False

        def bind(self, port, segment, host):
            if port.vnic_type != "normal":
                return Refusal(f"no {port.vnic_type} letters", hint="write a normal one")
            if port.port_security_enabled:
                return Refusal("pigeons read no rules")
            return Binding(self.name, "tap", {"coop": "north", "nested": {"is": "not told"}}, segment)

        def agent_configurations(self, host, devices):
            return {"coops": sorted(host.bridge_mappings), "devices": devices}
    """
)


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, more: str = "") -> None:
    """Makes `pigeon` an installed mechanism for this test; `more` is added to its class."""
    metadata = folder / "pigeon-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: pigeon\nVersion: 1\n")
    module = f"pigeon_{folder.parent.name}_{folder.name}".replace("-", "_")
    (metadata / "entry_points.txt").write_text(f"[deuteron.mechanisms]\npigeon = {module}:Pigeon\n")
    (folder / f"{module}.py").write_text(MODULE + textwrap.indent(textwrap.dedent(more), "    "))
    monkeypatch.syspath_prepend(str(folder))
