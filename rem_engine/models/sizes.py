"""Sizes of models, and how sure they are."""

from __future__ import annotations

from ..sizes import gigabytes
from .catalogue import KnownModel

_SIGNS = {"published": "", "computed": "~", "at least": ">"}


def size_of(model: KnownModel) -> str:
    """A model's size, marked where it is not published: "~" computed from its parameters, ">" at least."""
    return _SIGNS[model.size_source] + gigabytes(model.size)
