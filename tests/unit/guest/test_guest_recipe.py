"""The tiny guest's parts that are values: archive, ELF reading, partition table, package lists."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from deuteron.guest import cpio, disk, elf, packages, programs, recipe, reseed
from tests import needs


def test_an_archive_is_what_cpio_reads(tmp_path: Path) -> None:
    needs.program("cpio")
    data = cpio.archive(
        [
            cpio.directory("dev"),
            cpio.character_device("dev/console", 5, 1),
            cpio.file("init", b"#!/bin/sh\n", 0o755),
            cpio.symlink("sh", "init"),
        ]
    )

    listed = subprocess.run(["cpio", "-tv", "--quiet"], input=data, capture_output=True, check=True).stdout.decode()

    lines = [line.split() for line in listed.splitlines()]
    assert [(line[0], line[2]) for line in lines] == [
        ("drwxr-xr-x", "root"),
        ("crw-------", "root"),
        ("-rwxr-xr-x", "root"),
        ("lrwxrwxrwx", "root"),
    ]
    assert lines[1][4:6] == ["5,", "1"]
    assert lines[3][-3:] == ["sh", "->", "init"]


def test_the_same_entries_give_the_same_bytes() -> None:
    entries = [cpio.directory("etc"), cpio.file("etc/passwd", b"x")]

    assert cpio.archive(entries) == cpio.archive(entries)
    assert len(cpio.archive(entries)) % 512 == 0


def test_every_header_starts_at_four_bytes() -> None:
    for length in range(8):
        data = cpio.archive([cpio.file("name", b"x" * length), cpio.file("other", b"")])

        assert data.index(b"070701", 6) % 4 == 0


def test_the_libraries_of_a_program_are_read_from_it() -> None:
    libraries = elf.needed_libraries(Path("/bin/bash").read_bytes())

    assert "libc.so.6" in libraries


def test_a_script_is_not_elf() -> None:
    with pytest.raises(elf.NotElf):
        elf.needed_libraries(b"#!/bin/sh\n")


def test_the_partition_table_has_an_active_and_a_state_partition() -> None:
    sector = disk.partition_table(b"\xfa" * 440, 40960, 32768, 4096)

    assert len(sector) == 512 and sector[510:] == b"\x55\xaa"
    first, second = sector[446:462], sector[462:478]
    assert (first[0], first[4], struct.unpack("<II", first[8:])) == (0x80, 0x0E, (2048, 40960))
    assert (second[0], second[4], struct.unpack("<II", second[8:])) == (0, 0x83, (2048 + 40960, 32768))
    assert struct.unpack("<II", sector[486:494]) == (2048 + 40960 + 32768, 4096)


def test_boot_code_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="441 bytes does not fit"):
        disk.partition_table(b"x" * 441, 1, 1)


def test_package_paragraphs_are_read_with_their_first_alternatives() -> None:
    text = (
        "Package: dropbear-bin\nVersion: 2022.83-1\nDepends: libc6 (>= 2.36), libtomcrypt1 | libtomcrypt2, zlib1g\n"
        "Description: ssh\n more\n\nPackage: libc6\nVersion: 2.36-9\nDepends: libgcc-s1\n"
    )

    found = packages.parse_show(text)

    assert found["dropbear-bin"].version == "2022.83-1"
    assert found["dropbear-bin"].depends == ("libc6", "libtomcrypt1", "zlib1g")
    assert found["libc6"].depends == ("libgcc-s1",)


def test_the_modules_a_module_needs_are_in_its_information() -> None:
    module = b"\x7fELF...\0license=GPL\0depends=virtio,virtio-ring\0name=x\0"

    assert recipe.module_depends(module) == ("virtio", "virtio_ring")
    assert recipe.module_depends(b"\0depends=\0") == ()


def test_applets_are_renamed_where_their_table_stays_sorted() -> None:
    table = b"x\0mv\0nc\0netstat\0wc\0wget\0which\0"

    assert programs.with_applets_renamed(table, {"nc": "nd", "wget": "wgeu"}) == (
        b"x\0mv\0nd\0netstat\0wc\0wgeu\0which\0"
    )
    for names in ({"nc": "nz"}, {"ping": "pinh"}, {"nc": "netcat"}):
        with pytest.raises(programs.NotAsExpected):
            programs.with_applets_renamed(table, names)


def test_tools_come_with_the_libraries_that_are_not_in_the_guest_already(tmp_path: Path) -> None:
    folder = tmp_path / "tree/usr/lib/x86_64-linux-gnu"
    folder.mkdir(parents=True)
    bash = Path("/bin/bash").read_bytes()
    for name in elf.needed_libraries(bash):
        (folder / name).write_bytes(bash if name == "libc.so.6" else Path("/lib/x86_64-linux-gnu", name).read_bytes())
    (tmp_path / "tree/bin").mkdir()
    (tmp_path / "tree/bin/bash").write_bytes(bash)

    programs.collect({"sh": "bin/bash"}, tmp_path / "tree", tmp_path / "tools", present={"libc.so.6"})

    assert (tmp_path / "tools/bin/sh").read_bytes() == bash
    copied = {path.name for path in (tmp_path / "tools/lib").iterdir()}
    assert copied == set(elf.needed_libraries(bash)) - {"libc.so.6"}


def test_metadata_is_flattened_by_the_guests_own_program(tmp_path: Path) -> None:
    needs.program("awk")
    document = tmp_path / "meta_data.json"
    document.write_text(
        '{"uuid": "u-1", "public_keys": {"my key": "ssh-rsa AAA me@x\\n"}, "n": [1, {"a": true}], '
        '"e": {}, "l": 0, "z": "end"}'
    )

    flat = _awk("json.awk", document)

    assert flat == "uuid\tu-1\npublic_keys.my key\tssh-rsa AAA me@x\nn.0\t1\nn.1.a\ttrue\nl\t0\nz\tend\n"


def test_cloud_config_gives_files_and_commands(tmp_path: Path) -> None:
    needs.program("awk")
    document = tmp_path / "user_data"
    document.write_text(
        "#cloud-config\nhostname: web\nssh_authorized_keys:\n  - ssh-ed25519 AAA me\nwrite_files:\n"
        "  - path: /tmp/a\n    permissions: '0600'\n    content: |\n      it's\n        two lines\n"
        'runcmd:\n  - echo hello\n  - [touch, "a b"]\n'
    )

    _awk("cloud-config.awk", document, f"out={tmp_path}")

    assert (tmp_path / "hostname").read_text() == "web\n"
    assert (tmp_path / "keys").read_text() == "ssh-ed25519 AAA me\n"
    assert (tmp_path / "runcmd").read_text() == "echo hello\n'touch' 'a b' \n"
    script = (tmp_path / "files").read_text()
    assert "printf %s 'it'\\''s\n  two lines\n' > '/tmp/a'" in script
    assert "chmod 0600 '/tmp/a'" in script


def _awk(program: str, document: Path, *variables: str) -> str:
    source = Path(recipe.__file__).with_name("files") / program
    assignments = [word for variable in variables for word in ("-v", variable)]
    # The guest runs busybox's awk, which reads some regular expressions differently.
    awk = ["busybox", "awk"] if shutil.which("busybox") else ["awk"]
    command = [*awk, *assignments, "-f", str(source), str(document)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_program_that_asks_for_random_numbers_is_an_executable_of_linux(tmp_path: Path) -> None:
    path = tmp_path / "reseed"
    path.write_bytes(reseed.program())
    path.chmod(0o755)
    # Who has no right to add to the kernel's pool, or no device to read, is told so by its status.
    done = subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", str(path)] if os.geteuid() == 0 else [str(path)],
        check=False,
        timeout=20,
        cwd="/",
    )
    assert done.returncode == 1


def test_what_a_guest_has_flushed_outlives_its_end(tmp_path: Path) -> None:
    """Nothing repairs its file system between two boots, and nothing may make it anew."""
    needs.program("mke2fs")
    state = tmp_path / "state"
    disk.make_state(state, tmp_path)
    superblock = state.read_bytes()[1024:2048]
    magic, features = struct.unpack_from("<H", superblock, 0x38)[0], struct.unpack_from("<I", superblock, 0x5C)[0]
    assert (magic, features & 0x4) == (0xEF53, 0x4), "no journal"
    assert "mke2fs" not in (Path(recipe.__file__).parent / "files" / "rc").read_text()
