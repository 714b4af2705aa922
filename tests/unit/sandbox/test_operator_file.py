"""The port of viewers in an operator's file, which a second cloud of the machine has another of."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from deuteron.sandbox.errors import StateError
from deuteron.sandbox.operator_file import take_another_port, with_port

COMMENTED = """\
# port = 1 is none of ours
[network]
dns_domain = "cloud.example"   # names of ports

[vnc]
port = {}                    # for viewers
name = "port = 5"
"""


@pytest.mark.parametrize(
    "text",
    [
        COMMENTED,
        "vnc.port = {}\n",
        'vnc = {{ host = "127.0.0.1", port={} }}\n',
        '[vnc]\n"port" = {}\n',
    ],
)
@pytest.mark.parametrize("number", ["5900", "5_900", "+5900", "0x170C"])
def test_the_number_alone_is_exchanged(text: str, number: str) -> None:
    assert with_port(text.format(number), 5977) == text.format("5977")


def test_a_file_takes_the_next_port_that_is_free_and_keeps_its_rights(tmp_path: Path) -> None:
    path = tmp_path / "operator.toml"
    with socket.create_server(("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        path.write_text(COMMENTED.format(port - 1))
        path.chmod(0o640)
        found = take_another_port(tmp_path)
    assert found is not None and found > port, "one that somebody listens on is not free"
    assert path.read_text() == COMMENTED.format(found)
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("text", [None, "", "[vnc]\nhost = '127.0.0.1'\n", "[vnc\n", "[vnc]\nport = 'five'\n"])
def test_a_file_without_a_port_stays_as_it_is(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "operator.toml"
    if text is not None:
        path.write_text(text)
    assert take_another_port(tmp_path) is None
    assert text is None or path.read_text() == text


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("[vnc]\nport = 5900\n")
    (tmp_path / "operator.toml").symlink_to("elsewhere")
    assert take_another_port(tmp_path) is None
    assert (tmp_path / "elsewhere").read_text() == "[vnc]\nport = 5900\n"


def test_where_no_port_is_left_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "operator.toml").write_text("[vnc]\nport = 65535\n")
    with pytest.raises(StateError, match="no TCP port"):
        take_another_port(tmp_path)
