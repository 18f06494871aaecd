"""Changes of weights, in full and factored, and laying them over weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Size, Tensor

from .names import Shaped


@dataclass(frozen=True)
class LowRank:
    """A change of one weight: scale * up @ down, in the weight's shape.

    Attributes:
        up: [out, r].
        down: [r, in], where `in` is everything but the weight's first dimension, flattened.
        scale: alpha / r.
    """

    up: Tensor
    down: Tensor
    scale: float

    @property
    def sides(self) -> tuple[int, int]:
        """Out and in of the weight it is for."""
        return self.up.shape[0], self.down.shape[1]

    def full(self, shape: Size | tuple[int, ...]) -> Tensor:
        """The change itself, float32, in the weight's shape.

        Raises:
            RuntimeError: the shape has another number of elements.
        """
        return (self.up.float() @ self.down.float()).mul_(self.scale).reshape(shape)

    def row(self, number: int) -> Tensor:
        """One row of the change, [in], float32."""
        return self.up[number].float() @ self.down.float() * self.scale


@dataclass(frozen=True)
class Hadamard:
    """A change of one weight: two low-rank ones multiplied element by element (LyCORIS' LoHa).

    Attributes:
        one, other: of the same sides.
    """

    one: LowRank
    other: LowRank

    @property
    def sides(self) -> tuple[int, int]:
        """Out and in of the weight it is for."""
        return self.one.sides

    def full(self, shape: Size | tuple[int, ...]) -> Tensor:
        """As `LowRank.full`."""
        return self.one.full(shape).mul_(self.other.full(shape))

    def row(self, number: int) -> Tensor:
        """As `LowRank.row`."""
        return self.one.row(number) * self.other.row(number)


@dataclass(frozen=True)
class Kronecker:
    """A change of one weight: the Kronecker product of two matrices (LyCORIS' LoKr).

    Attributes:
        one: [a, b], with the scale in it.
        other: [c, d], or a convolution's [c, d, ...].
    """

    one: Tensor
    other: Tensor

    @property
    def sides(self) -> tuple[int, int]:
        """Out and in of the weight it is for."""
        return self.one.shape[0] * self.other.shape[0], self.one.shape[1] * self.other[0].numel()

    def full(self, shape: Size | tuple[int, ...]) -> Tensor:
        """As `LowRank.full`."""
        return torch.kron(self._one(), self.other.float()).reshape(shape)

    def row(self, number: int) -> Tensor:
        """As `LowRank.row`."""
        outer, inner = divmod(number, self.other.shape[0])
        return torch.kron(self._one()[outer], self.other[inner].float()).reshape(-1)

    def _one(self) -> Tensor:
        return self.one.float().reshape(*self.one.shape, *(1 for _ in self.other.shape[2:]))


Change = Tensor | LowRank | Hadamard | Kronecker
"""A full difference, in the weight's shape, or a factored one."""


def apply_change(weight: Tensor, change: Change, strength: float = 1.0) -> Tensor:
    """One weight with its change: weight + strength * change, computed in float32, kept in the weight's own type.

    A strength, 0..1, of 0 gives the weight back bit by bit. The weight given is left as it is.
    """
    if strength == 0.0:
        return weight.clone()
    full = change.float() if isinstance(change, Tensor) else change.full(weight.shape)
    return weight.float().add(full.to(weight.device), alpha=strength).to(weight.dtype)


def change_row(change: Change, number: int) -> Tensor:
    """One row of a change, [everything but the first dimension], float32."""
    return change[number].float().reshape(-1) if isinstance(change, Tensor) else change.row(number)


def check_changes(
    weights: Mapping[str, Shaped], changes: Mapping[str, Change], label: str = "The delta or LoRA"
) -> None:
    """Make sure that every change has its weight.

    Args:
        weights, changes: under the same names.
        label: what the changes are, for the message.

    Raises:
        ValueError: names the first that has none, or one of another shape.
    """
    for name, change in changes.items():
        if name not in weights:
            raise ValueError(f"{label} changes {name}, which the model does not have; choose one made for this model.")
        shape = Size(weights[name].shape)
        given = [*change.shape] if isinstance(change, Tensor) else [*change.sides]
        expected = [*shape] if isinstance(change, Tensor) else [shape[0], shape[1:].numel()]
        if given != expected:
            raise ValueError(
                f"{label} is for another size of model: its change of {name} is {given}, and the model has "
                f"{expected}; choose one made for this model."
            )


def check_strength(strength: float) -> None:
    """Raises ValueError where a strength is outside 0..1."""
    if not 0.0 <= strength <= 1.0:
        raise ValueError(f"A strength of {strength} is out of range; 0 (the base alone) to 1 (REM) is expected.")
