"""The stores that an operator set for the data of images: their names, their folders, and in which of them data are.

    images/               the folder of one store; of a cloud without stores, too
    image-stores/FOLDER/  that of another; a disk may be mounted there

A row says in which folders the data of its image are, not in which stores: a store that gets another name keeps its
images. Without stores everything is in `images/`, and the API says that it knows of none.

Source: glance_store/multi_backend.py; glance/common/utils.py `get_stores_from_request`, `sort_image_locations`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from sqlalchemy import ColumnElement, func

from deuteron.model.settings import ImageOptions, ImageStore, Settings
from deuteron.store.image_tables import images

FIRST: Final = ""
"""The folder `images/`, as rows and settings name it."""
WITH_DATA: Final = ("active", "deactivated")


@dataclass(frozen=True)
class Store:
    name: str
    options: ImageStore
    is_default: bool

    @property
    def folder(self) -> str:
        return self.options.filesystem_store_datadir


def configured(options: ImageOptions) -> tuple[Store, ...]:
    """All of them, in the operator's order; none where an operator set none."""
    default = options.default_backend or next(
        (name for name, store in options.stores.items() if store.filesystem_store_datadir == FIRST), ""
    )
    return tuple(Store(name, store, name == default) for name, store in options.stores.items())


def named(options: ImageOptions, name: object) -> Store | None:
    return next((store for store in configured(options) if store.name == name), None)


def default_folder(options: ImageOptions) -> str:
    """Of the store that data go to when none is named."""
    return next((store.folder for store in configured(options) if store.is_default), FIRST)


def names_of(options: ImageOptions, row: Mapping[str, object]) -> list[str]:
    """The stores that have the image's data, the first of them first. Folders that no store has any more are none."""
    by_folder = {store.folder: store.name for store in configured(options)}
    return [by_folder[folder] for folder in folders_of(row) if folder in by_folder]


def folders_of(row: Mapping[str, object]) -> list[str]:
    """The folders that have the image's data, the first of them first."""
    return folders_in(str(row["folders"] or FIRST)) if row["status"] in WITH_DATA else []


def folders_in(column: str | None) -> list[str]:
    return (column or FIRST).split(",")


def column_of(folders: Sequence[str]) -> str:
    """How a row says it."""
    return ",".join(folders)


def copies() -> ColumnElement[int]:
    """In how many folders the data of an image are that has any."""
    said = func.coalesce(images.c.folders, "")
    return 1 + func.length(said) - func.length(func.replace(said, ",", ""))


def place_of(settings: Settings, folder: str) -> Path:
    api = Path(settings.state_dir)
    return api / "images" if folder == FIRST else api / "image-stores" / folder


def places(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Every folder where data of images may be, those of stores that are not set any more too."""
    set_now = {FIRST, *(store.folder for store in configured(settings.operator.image))}
    for folder in sorted(set_now):
        yield folder, place_of(settings, folder)
    others = Path(settings.state_dir) / "image-stores"
    if others.is_dir():
        for entry in sorted(others.iterdir()):
            if entry.name not in set_now and entry.is_dir():
                yield entry.name, entry


def readable(settings: Settings, row: Mapping[str, object], preferred: Sequence[Store] = ()) -> list[Path]:
    """The files with the image's data: of stores that are preferred first, then of the heaviest, and of two alike the
    one that has them longer."""
    weights = {store.folder: store.options.weight for store in configured(settings.operator.image)}
    first = [store.folder for store in preferred]

    def rank(folder: str) -> tuple[int, int]:
        return (first.index(folder) if folder in first else len(first), -weights.get(folder, 0))

    folders = sorted(folders_of(row), key=rank)
    return [place_of(settings, folder) / str(row["id"]) for folder in folders]


def open_first(paths: Sequence[Path], size: int) -> BinaryIO | None:
    """The first of the files that can be read and is whole, as far as its size says."""
    for path in paths:
        with suppress(OSError):
            file = path.open("rb")
            if os.fstat(file.fileno()).st_size == size:
                return file
            file.close()
    return None
