"""Ref-DAVIS17, as ReferFormer prepares it."""

from __future__ import annotations

from pathlib import Path

from .broken import OnBroken, refuse
from .ref_ytvos import RefYtvos


class RefDavis17(RefYtvos):
    """A split (train, valid) of Ref-DAVIS17 in the layout of Refer-YouTube-VOS.

    An object has four sentences: of two annotators, each for the first frame and for the whole video. The object
    numbers are those of DAVIS's `Annotations_unsupervised`.

    Args:
        root: the folder with `train`, `valid`, `meta_expressions` and, not read here, `DAVIS`.
        split: train or valid.
        on_broken: see `RefYtvos`.

    Raises:
        FileNotFoundError, BrokenSample: see `RefYtvos`.
    """

    def __init__(self, root: Path, split: str = "train", on_broken: OnBroken = refuse) -> None:
        super().__init__(root, split, on_broken, "Ref-DAVIS17")
