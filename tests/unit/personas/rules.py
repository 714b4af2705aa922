"""Names of all rules that this cloud's services ask about, as `generate.py` wants them."""

from __future__ import annotations

import json

from deuteron.api import compute, identity, image, network, placement, volume

SERVICES = {
    "identity": identity,
    "network": network,
    "compute": compute,
    "image": image,
    "volume": volume,
    "placement": placement,
}


def names() -> dict[str, list[str]]:
    return {name: sorted(service.POLICIES) for name, service in SERVICES.items()}


if __name__ == "__main__":
    print(json.dumps(names()))
