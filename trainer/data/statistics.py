"""What a dataset is made of: lengths, sizes, areas of masks, lengths of sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from rem_engine.backbones.base import TEXT_ROWS, WAN
from rem_engine.backbones.folder import family_of, load_tokenizer
from rem_engine.backbones.load import find_model_folder

from .clean_text import clean_prompt, lower_case
from .sample import Measured

_SMALL = 0.001
"""Share of a picture below which a mask is called small: about half a cell of a latent frame of 32x32 at 512x512."""
_MOST_SIZES = 4


class Statistics:
    """Figures of a dataset that is read through.

    Args:
        tokens: how many a sentence has; None to count words.
    """

    def __init__(self, tokens: Callable[[str], int] | None = None) -> None:
        self._tokens = tokens
        self._clips: dict[str, Measured] = {}
        self._areas: list[np.ndarray] = []
        self._texts: list[int] = []

    def add(self, measured: Measured, text: str) -> None:
        """Count a sentence; a clip that several speak of is one clip."""
        self._clips.setdefault(measured.clip, measured)
        self._areas.append(np.asarray(measured.areas))
        self._texts.append(len(text.split()) if self._tokens is None else self._tokens(text))

    def lines(self) -> list[str]:
        """The figures for people; none where nothing was counted."""
        if not self._clips:
            return []
        sizes = Counter(f"{each.size[1]}x{each.size[0]}" for each in self._clips.values())
        shown = ", ".join(f"{size} ({count})" for size, count in sizes.most_common(_MOST_SIZES))
        more = f" and {len(sizes) - _MOST_SIZES} more" if len(sizes) > _MOST_SIZES else ""
        lengths = _spread([each.frames for each in self._clips.values()])
        lines = [f"clips      {len(self._clips)}: {lengths} frames; {shown}{more} pixels"]
        areas = np.concatenate(self._areas)
        filled = areas[areas > 0]
        if filled.size:
            least, middle, most = (f"{100 * each:.2g} %" for each in (filled.min(), np.median(filled), filled.max()))
            small = np.mean([each[each > 0].mean() < _SMALL for each in self._areas if each.any()])
            lines.append(
                f"masks      {least} to {most} of the picture, median {middle}; {np.mean(areas == 0):.0%} are empty; "
                f"{small:.0%} of the sentences name something below {_SMALL:.1%}"
            )
        if self._tokens is None:
            lines.append(f"sentences  {_spread(self._texts)} words (--model counts its tokens)")
        else:
            longer = sum(count > TEXT_ROWS for count in self._texts)
            lines.append(f"sentences  {_spread(self._texts)} tokens; {longer} of more than the {TEXT_ROWS} that count")
        return lines


def token_counter(model: str | Path) -> Callable[[str], int]:
    """How many tokens a model makes of a dataset's sentence, as that is cleaned for it.

    Raises:
        FileNotFoundError, ValueError: no model folder, or its tokenizer cannot be read.
    """
    folder = find_model_folder(model)
    clean = clean_prompt if family_of(folder) is WAN else lower_case
    tokenizer = load_tokenizer(folder)
    return lambda text: len(tokenizer(clean(text)).input_ids)


def _spread(values: Sequence[int]) -> str:
    return f"{min(values)} to {max(values)} (median {np.median(values):g})"
