"""Whether a layer is empty or full in every frame: seldom what was wanted, and a delivery like any other to look at."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal

from torch import Tensor

_WHAT_TO_DO = {
    ("masks", "empty"): "nothing of the kind was found: look at {}, or lower the threshold",
    ("masks", "full"): "look at {}, or raise the threshold",
    ("mattes", "empty"): "look at {} and at the matte options",
    ("mattes", "full"): "look at {} and at the matte options",
}
_CAUSES = {
    ("masks", "empty"): ("include", "hold_out"),
    ("masks", "full"): (),
    ("mattes", "empty"): ("include", "hold_out"),
    ("mattes", "full"): ("add",),
}
"""Given mattes that may have brought it about."""
_NOTHING, _ALL = 0.1, 0.9
"""Alpha up to which a matte is empty, and above which it is full: thin smoke never reaches the middle, and of a
model's mask grain and halo remain where nothing is."""


class Coverage:
    """The least and the largest value of each layer over the frames of a run.

    Masks are empty where no pixel of any frame is above the threshold, and full where every pixel of every frame is.
    Mattes need not reach it, as that of thin smoke does not: they are empty where there is next to nothing.

    Args:
        what: "masks", as the model gives them, or "mattes".
        layers: their names.
        threshold: of masks, 0..1.
        ranges: where to keep [least, largest] of each layer, plain numbers; those of frames before an interruption, or
            empty.
        source: what the layers come of, which may be wrong.
        given: modes of mattes that were given beside, which may be, too.
    """

    def __init__(
        self,
        what: Literal["masks", "mattes"],
        layers: Sequence[str],
        threshold: float = 0.5,
        ranges: list[list[float]] | None = None,
        source: str = "the prompt",
        given: Collection[str] = (),
    ) -> None:
        self._what, self._layers = what, tuple(layers)
        self._empty, self._full = (threshold, threshold) if what == "masks" else (_NOTHING, _ALL)
        self._source, self._given = source, frozenset(given)
        self._ranges: list[list[float]] = [] if ranges is None else ranges

    def add(self, values: Tensor) -> None:
        """Take frames into account, [L,...], finite."""
        # A layer at a time: along a dimension torch takes twenty times as long.
        found = [[extreme.item() for extreme in layer.aminmax()] for layer in values]
        if self._ranges:
            known = zip(self._ranges, found, strict=True)
            found = [[min(before[0], now[0]), max(before[1], now[1])] for before, now in known]
        self._ranges[:] = found

    def warnings(self) -> list[dict[str, Any]]:
        """For run.json: what is to be said of layers that are empty or full, in the order of the layers."""
        found = []
        for layer, (low, high) in zip(self._layers, self._ranges):
            state = "empty" if high <= self._empty else "full" if low > self._full else None
            if state is None:
                continue
            pixels = "no pixel of any frame is" if state == "empty" else "every pixel of every frame is"
            limit, extreme = (
                (self._empty, f"at most {high:.2g}") if state == "empty" else (self._full, f"at least {low:.2g}")
            )
            causes = [mode.replace("_", "-") for mode in _CAUSES[self._what, state] if mode in self._given]
            looked_at = ", ".join([self._source, *(f"at --{cause}" for cause in causes)])
            sentence = (
                f"The {self._what} of {layer} are {state}: {pixels} above {limit:g} ({extreme}); "
                f"{_WHAT_TO_DO[self._what, state].format(looked_at)}."
            )
            found.append({"layer": layer, "what": self._what, "state": state, "sentence": sentence})
        return found


def are_ranges(noted: Any, layers: int) -> bool:
    """Whether something that was noted can be the `ranges` of a `Coverage` of so many layers."""
    if not isinstance(noted, list) or len(noted) not in (0, layers):
        return False
    pairs = all(isinstance(pair, list) and len(pair) == 2 for pair in noted)
    return pairs and all(isinstance(value, (int, float)) for pair in noted for value in pair)


def warnings_of(masks: Coverage, mattes: Coverage) -> list[dict[str, Any]]:
    """Those of a run's masks and mattes; of a layer that is alike in both, once."""
    of_masks = masks.warnings()
    said = {(warning["layer"], warning["state"]) for warning in of_masks}
    return [*of_masks, *(warning for warning in mattes.warnings() if (warning["layer"], warning["state"]) not in said)]
