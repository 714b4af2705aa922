"""What is not whole: files and folders called `.part-*`, which a process that ended has left."""

from __future__ import annotations

import shutil
from pathlib import Path


def remove_unfinished(folder: Path) -> None:
    """Remove them, while nobody is making one there. Raises: OSError."""
    for part in folder.glob(".part-*"):
        if part.is_dir() and not part.is_symlink():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)
