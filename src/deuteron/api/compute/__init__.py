"""The Compute API, v2.1 with microversions, as Nova speaks it: flavors, key pairs, servers and their hosts."""

from __future__ import annotations

