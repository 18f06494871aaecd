"""Reading weights: file formats, names, and whether they fit."""

from __future__ import annotations

from .check import check, describe
from .names import split_components, to_diffusers, to_original
from .read import read_state_dict

__all__ = ["check", "describe", "read_state_dict", "split_components", "to_diffusers", "to_original"]
