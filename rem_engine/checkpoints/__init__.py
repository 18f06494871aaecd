"""Weights: file formats, names, whether they fit, what they look like, and changes to them."""

from __future__ import annotations

from .adapter import is_adapter, read_changes
from .architecture import describe
from .change import Change, LowRank
from .check import check
from .names import split_components, to_diffusers, to_original
from .read import read_state_dict

__all__ = [
    "Change",
    "LowRank",
    "check",
    "describe",
    "is_adapter",
    "read_changes",
    "read_state_dict",
    "split_components",
    "to_diffusers",
    "to_original",
]
