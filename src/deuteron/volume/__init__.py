"""Volumes of a host: what its agent keeps as the API says, behind the contract of a driver."""

from deuteron.volume.contract import Figures, VolumeDriver, VolumeFailure
from deuteron.volume.keeper import VolumeKeeper

__all__ = ["Figures", "VolumeDriver", "VolumeFailure", "VolumeKeeper"]
