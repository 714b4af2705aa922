"""Row types from the declarations, one module a service: `python -m deuteron.model.rows SERVICE > MODULE`.

A row is a plain dictionary, as the store reads it and the encoder writes it; what its keys hold is the declaration's to
say, so it is said nowhere else: the checked-in module is made here, and a test finds it stale. Its keys are read-only:
a new row comes from writing, not from changing the one at hand. See decision 0014.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from deuteron.model import identity, image, metadefs, network, scalars, volume
from deuteron.model.resource import Attribute, Resource, is_nullable

SERVICES: dict[str, tuple[Resource[Any], ...]] = {
    "network": network.RESOURCES,
    "identity": identity.STORED,
    "image": (image.IMAGE, image.TASK, metadefs.METADEF_NAMESPACE, metadefs.METADEF_PART),
    "volume": volume.RESOURCES,
}
"""The kinds of each service whose rows have types."""
_MODULES = {
    "network": "deuteron.model.network.rows",
    "identity": "deuteron.model.identity_rows",
    "image": "deuteron.model.image_rows",
    "volume": "deuteron.model.volume.rows",
}

_SPELLED = {
    "floatingip": "FloatingIp",
    "subnetpool": "SubnetPool",
    "volume_snapshot": "Snapshot",
    "volume_group": "Group",
}
"""Kinds of which OpenStack writes two words as one, or one word for two."""
_HOMES = {
    "collections.abc": ("Mapping", "Sequence"),
    "typing": ("Any", "Literal", "NewType"),
    "typing_extensions": ("ReadOnly", "TypedDict"),
    "deuteron.model.intent": ("NetworkType",),
    "deuteron.model.network.parts": (
        "AddressPair",
        "AllocationPool",
        "DhcpOption",
        "FixedIp",
        "Gateway",
        "Lan",
        "Route",
        "SubPort",
    ),
    "deuteron.model.scalars": (r"\w+Id", "Mac", "Ip", "Cidr"),
}
"""Where the names in types come from."""


def describe(service: str) -> str:
    """The module of the service's row types."""
    types = "\n\n\n".join(_row(resource) for resource in SERVICES[service])
    own = sorted(set(re.findall(r"\b\w+Id\b", types)) - set(vars(scalars)))
    if own:
        types = "\n".join(f'{name} = NewType("{name}", str)' for name in own) + f"\n\n{types}"
    imports = list(_imports(types))
    ours = [line for line in imports if "deuteron" in line]
    others = [line for line in imports if line.startswith("from typing_extensions")]
    builtin = [line for line in imports if line not in ours and line not in others]
    blocks = "\n\n".join("\n".join(block) for block in (builtin, others, ours) if block)
    gap = "\n\n\n" if types.startswith("class ") else "\n\n"
    return (
        f'"""Rows of the {service} service, made from its declarations by `python -m deuteron.model.rows {service}`; '
        f'do not edit."""\n\nfrom __future__ import annotations\n\n{blocks}{gap}{types}\n'
    )


def module_of(service: str) -> str:
    """Where the row types of a service are."""
    return _MODULES[service]


def row_name(resource: Resource[Any]) -> str:
    """What the type of its rows is called."""
    return f"{_word(resource.name)}Row"


def columns(resource: Resource[Any]) -> Iterator[tuple[str, str, bool]]:
    """Name, type and whether it may be null of each column of the resource's rows."""
    for attribute in (*resource.attributes, *resource.hidden):
        if attribute.stored:
            yield attribute.name, _type(resource, attribute), is_nullable(attribute)


def _row(resource: Resource[Any]) -> str:
    name = row_name(resource)
    held = [
        (column, f"ReadOnly[{written} | None]" if nullable else f"ReadOnly[{written}]")
        for column, written, nullable in columns(resource)
    ]
    if all(column.isidentifier() for column, _ in held):
        return "\n".join([f"class {name}(TypedDict):", *(f"    {column}: {type}" for column, type in held)])
    # Keys such as `binding:host_id` are no names of Python's.
    lines = "\n".join(f'        "{column}": {type},' for column, type in held)
    return f'{name} = TypedDict(\n    "{name}",\n    {{\n{lines}\n    }},\n)'


def _type(resource: Resource[Any], attribute: Attribute) -> str:
    if attribute.row_type is not None:
        return attribute.row_type
    named = resource.name if attribute.name == "id" else attribute.refers_to
    # Of one id, or of a list of them.
    return attribute.codec.row_type.replace("str", f"{_word(named)}Id") if named else attribute.codec.row_type


def _word(kind: str) -> str:
    return _SPELLED.get(kind) or "".join(part.title() for part in kind.split("_"))


def _imports(text: str) -> Iterator[str]:
    for home, patterns in _HOMES.items():
        names = sorted({found for pattern in patterns for found in re.findall(rf"\b{pattern}\b", text)})
        names = [name for name in names if home != scalars.__name__ or name in vars(scalars)]
        line = f"from {home} import {', '.join(names)}"
        if len(line) > 120:
            line = f"from {home} import (\n" + "".join(f"    {name},\n" for name in names) + ")"
        if names:
            yield line


def main(words: Sequence[str]) -> None:
    """Print the module of the service that is named."""
    sys.stdout.write(describe(words[0]))


if __name__ == "__main__":
    main(sys.argv[1:])
