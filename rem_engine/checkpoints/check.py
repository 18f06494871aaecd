"""Whether weights fit a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .architecture import describe
from .names import Shaped

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


def _first(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
