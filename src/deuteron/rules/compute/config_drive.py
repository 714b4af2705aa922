"""What is on the config drive of a server: the metadata service's documents as files, for guests without a network.

    openstack/latest/meta_data.json     and the same below each version
    openstack/content/0000              a file of the user's (`personality`), named by meta_data.json
    ec2/latest/meta-data.json

Source: nova/api/metadata/base.py `metadata_for_config_drive`; nova.conf api.config_drive_skip_versions.
"""

from __future__ import annotations

import base64
from typing import Any, Final

import msgspec

from deuteron.model.compute import Injected
from deuteron.rules.compute import metadata
from deuteron.rules.compute.metadata import Subject
from deuteron.store.database import Tx

_EC2: Final = ("2009-04-04", "latest")


def files(tx: Tx, subject: Subject) -> dict[str, bytes]:
    """Content by path."""
    injected = msgspec.convert(subject.row.injected or {}, Injected)
    content = {f"{number:04}": base64.b64decode(file.contents) for number, file in enumerate(injected.files)}
    more: dict[str, Any] = {}
    if content:
        named = zip(injected.files, content, strict=True)
        more["files"] = [{"path": file.path, "content_path": f"/content/{key}"} for file, key in named]
    if injected.admin_pass is not None:
        more["admin_pass"] = injected.admin_pass
    found: dict[str, bytes] = {}
    tree = {name: _plain(value) for name, value in metadata.ec2_tree(tx, subject).items()}
    for version in _EC2:
        found[f"ec2/{version}/meta-data.json"] = msgspec.json.encode(tree)
        if subject.user_data is not None:
            found[f"ec2/{version}/user-data"] = subject.user_data
    # A password that a guest set is asked of the service alone.
    names = [name for name in metadata.document_names(subject) if name != "password"]
    documents = {name: metadata.document(tx, subject, name, more) for name in names}
    for version in (*metadata.OPENSTACK_VERSIONS, "latest"):
        found |= {f"openstack/{version}/{name}": document for name, document in documents.items()}
    return found | {f"openstack/content/{key}": data for key, data in content.items()}


def _plain(value: Any) -> Any:
    """Without the names that lists of the service show in place of a number."""
    return {name: _plain(child) for name, child in value.items()} if isinstance(value, dict) else value
