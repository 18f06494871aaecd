"""Mattes that are given beside a layer's own: where it may be, where it may not, and where it is for certain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def with_given(alpha: Tensor, given: Mapping[str, Tensor]) -> Tensor:
    """A layer's alphas within what is given.

    `include`, the inside of a garbage matte, multiplies: a b, so that nothing is left where it is 0. `hold_out` is
    subtracted as coverages are (Porter and Duff, 1984, "out"): a (1 - b), so that nothing is left where it is 1. `add`
    then is the least that an alpha may be: max(a, b).

    Args:
        alpha: [L,...] in 0..1.
        given: mattes by mode, [L,...] or, for all layers, [1,...], in 0..1; those that are missing change nothing.
    """
    if "include" in given:
        alpha = alpha * given["include"].to(alpha)
    if "hold_out" in given:
        alpha = alpha * (1.0 - given["hold_out"].to(alpha))
    if "add" in given:
        alpha = torch.maximum(alpha, given["add"].to(alpha))
    return alpha


def joined(mode: str, mattes: Sequence[Tensor]) -> Tensor:
    """Several given mattes of one mode as the one that does what they do in turn."""
    if mode == "include":
        return torch.stack([*mattes]).prod(dim=0)
    if mode == "hold_out":
        return 1.0 - torch.stack([1.0 - matte for matte in mattes]).prod(dim=0)
    return torch.stack([*mattes]).amax(dim=0)
