"""The config drive: a read-only disk labelled `config-2` that holds what the metadata service says.

ISO 9660 with Rock Ridge and Joliet names, attached as a CD-ROM, as Nova does unless told otherwise. It is made when the
disks of the server are, from what the API answers then, and stays as it is until they are made anew.

Source: nova/virt/configdrive.py `_make_iso9660`; nova.conf config_drive_format, mkisofs_cmd.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

from deuteron.compute.images import UnixConnection
from deuteron.compute.tools import DiskFailure, refused, run_tool, unheard

LABEL: Final = "config-2"
TOOL: Final = "genisoimage"


class ConfigDrives:
    """Makes config drives of what the API says is on them."""

    def __init__(self, api_socket: str, token: str) -> None:
        self._api_socket = api_socket
        self._token = token

    def make(self, server_id: str, target: Path) -> None:
        """Write the drive of a server to `target`, whose folder is there.

        Raises: DiskFailure if the API refuses or the tool fails.
        """
        write_image(self._fetch(server_id), target)

    def _fetch(self, server_id: str) -> dict[str, bytes]:
        attempt = f"cannot fetch the config drive of server {server_id} from the API"
        connection = UnixConnection(self._api_socket)
        try:
            headers = {"Authorization": f"Bearer {self._token}"}
            connection.request("GET", f"/internal/servers/{server_id}/config-drive", headers=headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise unheard(attempt, error) from error
        finally:
            connection.close()
        if response.status != 200:
            raise refused(attempt, response.status, body[:300].decode(errors="replace"))
        try:
            named = msgspec.json.decode(body, type=dict[str, str])
            return {path: base64.b64decode(content, validate=True) for path, content in named.items()}
        except (msgspec.MsgspecError, binascii.Error) as error:
            raise DiskFailure(f"{attempt}: it answered what is no list of files: {error}") from error


def write_image(files: Mapping[str, bytes], target: Path) -> None:
    """Make an image of `files`, content by path. Raises: DiskFailure."""
    with tempfile.TemporaryDirectory(prefix=".config-", dir=target.parent) as name:
        folder, part = Path(name) / "tree", Path(name) / "image"
        folder.mkdir()
        for file, content in files.items():
            path = PurePosixPath(file)
            if path.is_absolute() or ".." in path.parts:
                raise DiskFailure(f'cannot put "{file}" on the config drive: its path leads out of it')
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        names = ["-ldots", "-allow-lowercase", "-allow-multidot", "-l", "-J", "-r"]
        run_tool([TOOL, "-quiet", "-o", str(part), *names, "-publisher", "Deuteron", "-V", LABEL, str(folder)])
        part.rename(target)
