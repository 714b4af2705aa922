"""The driver `file`: volumes as qcow2 files in a folder of the host, without root."""

from deuteron.volume.file.driver import FileDriver, FileOptions

open_driver = FileDriver
"""What the entry point names."""

__all__ = ["FileDriver", "FileOptions", "open_driver"]
