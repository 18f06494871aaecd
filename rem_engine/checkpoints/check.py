"""Whether weights fit a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..finite import all_finite, bits_are_finite
from .architecture import describe
from .names import Shaped

# Of each type as an integer: where all of these bits are set, a number is NaN or infinite.
_NOT_FINITE = {
    torch.float64: ("<u8", 0x7FF0_0000_0000_0000),
    torch.float32: ("<u4", 0x7F80_0000),
    torch.bfloat16: ("<u2", 0x7F80),
    torch.float16: ("<u2", 0x7C00),
    torch.float8_e5m2: ("u1", 0x7C),
    torch.float8_e4m3fn: ("u1", 0x7F),
}

_NAMED = 3  # differences a message names; one usually tells the story


class _Expected(NamedTuple):
    shape: Sequence[int]


def check(
    weights: Mapping[str, Shaped], expected_shapes: Mapping[str, Sequence[int]], label: str, model: str = "the model"
) -> None:
    """Make sure that weights are exactly those a model has.

    Args:
        weights: tensors, or whatever has their shapes, under the names the model uses.
        expected_shapes: shape of every weight of the model, by name.
        label: what the weights are, for the message ("rem.pth (transformer)").
        model: what they are for, for the message.

    Raises:
        ValueError: names or shapes differ; the message says what weights and model are and the first differences.
    """
    missing = [name for name in expected_shapes if name not in weights]
    unexpected = [name for name in weights if name not in expected_shapes]
    reshaped = [
        f"{name} is {list(tensor.shape)} instead of {list(expected_shapes[name])}"
        for name, tensor in weights.items()
        if name in expected_shapes and tuple(tensor.shape) != tuple(expected_shapes[name])
    ]
    differences = [
        f"{word}{_first(names)}"
        for word, names in (("", reshaped), ("missing: ", missing), ("not known to the model: ", unexpected))
        if names
    ]
    if differences:
        expected = describe({name: _Expected(shape) for name, shape in expected_shapes.items()})
        raise ValueError(
            f"{label} does not fit: this is {describe(weights)}, {model} is {expected} ({'; '.join(differences)}). "
            "Choose a file made for the same architecture and size."
        )


def check_finite_weight(values: Tensor, name: str, label: str, was: torch.dtype | None = None) -> None:
    """Make sure that a weight holds finite numbers, as it is kept in memory.

    Args:
        values: the weight.
        name: of the weight.
        label: the file it is from, for the message.
        was: the type it was brought to its own from.

    Raises:
        ValueError: some are NaN or infinite.
    """
    if not values.is_floating_point():
        return
    # torch has no sums of fp8.
    if all_finite(values.float() if values.dtype.itemsize == 1 else values):
        return
    advice = "download the file again"
    if values.dtype == torch.float16 and was not in (None, torch.float16):
        advice += ", or choose bfloat16 or float32 in place of float16, which ends at 65504"
    raise ValueError(f"The weight {name} of {label} holds values that are not finite (NaN or infinite): {advice}.")


def are_finite(data: memoryview, dtype: torch.dtype) -> bool:
    """Whether the numbers of a type that bytes stand for are all finite; whole numbers are."""
    if dtype not in _NOT_FINITE:
        return True
    kind, mask = _NOT_FINITE[dtype]
    return bits_are_finite(np.frombuffer(data, kind), mask)


def _first(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
