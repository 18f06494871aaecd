"""Whether a layer is empty or full in every frame: seldom what was wanted, and a delivery like any other to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor

_WHAT_TO_DO = {
    ("masks", "empty"): "nothing of the kind was found: look at the prompt, or lower the threshold",
    ("masks", "full"): "look at the prompt, or raise the threshold",
    ("mattes", "empty"): "look at the prompt and at the matte options",
    ("mattes", "full"): "look at the prompt and at the matte options",
}


class Coverage:
    """The least and the largest value of each layer over the frames of a run.

    A layer is empty where no pixel of any frame is above the threshold, and full where every pixel of every frame is.

    Args:
        what: "masks", as the model gives them, or "mattes".
        layers: their names.
        threshold: 0..1.
        ranges: where to keep [least, largest] of each layer, plain numbers; those of frames before an interruption, or
            empty.
    """

    def __init__(
        self,
        what: Literal["masks", "mattes"],
        layers: Sequence[str],
        threshold: float = 0.5,
        ranges: list[list[float]] | None = None,
    ) -> None:
        self._what, self._layers, self._threshold = what, tuple(layers), threshold
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
            state = "empty" if high <= self._threshold else "full" if low > self._threshold else None
            if state is None:
                continue
            pixels = "no pixel of any frame is" if state == "empty" else "every pixel of every frame is"
            extreme = f"at most {high:.2g}" if state == "empty" else f"at least {low:.2g}"
            sentence = (
                f"The {self._what} of {layer} are {state}: {pixels} above {self._threshold:g} ({extreme}); "
                f"{_WHAT_TO_DO[self._what, state]}."
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
