"""How a shot is segmented."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import gcd
from typing import Literal

from ..backbones.base import FAMILIES, LARGEST_SIDE, LONGEST_WINDOW
from ..names import CombineMode
from ..setting import About, check_values, setting

MAX_SEED = 2**32 - 1
"""Largest seed of a run. torch's generators take larger ones, yet the seeds of later windows are counted on from it."""

_MODELS_OWN = "the model's own"
_FIRST, *_OTHERS = FAMILIES.values()


@dataclass(frozen=True)
class SegmentSettings:
    """How a shot is cut and scaled; None takes the backbone's own value.

    Attributes:
        protocol: `shot` cross-fades overlapping windows, keeps the takes of a shot apart and resizes in float32;
            `paper` does what the authors' evaluation does: windows side by side, 8-bit resize.
        size: (height, width) the model sees, multiples of its family's `size_multiple`.
        window: frames in a window; under `paper` the longest length that may be used.
        overlap: frames two windows share, at most half a window; `shot` only.
        cuts: "auto" to look for hard cuts, or the frames (from 0) at which a take begins, () for a shot of one take;
            `shot` only, `paper` knows no cuts.
        keep_aspect: fit frames into `size`, keeping their aspect, instead of stretching them to it; `shot` only.
        seed: of the noise, for backbones that take some. Under `paper` every window of every prompt has noise of its
            own, under `shot` the prompts share a window's.
        decoder: what draws masks of their latents: `vae`, the VAE's decoder, as in the paper; `mask`, a small one of
            grey masks that was distilled from it (`backbones.mask_decoder`).

    Raises:
        ValueError: another protocol, or a number out of range. What depends on the backbone is checked when
            it is known.
    """

    protocol: Literal["shot", "paper"] = setting(
        "shot",
        About(
            "shot: windows overlap and cross-fade, for footage. paper: windows side by side, as in the authors' "
            "evaluation, for figures to compare."
        ),
    )
    size: tuple[int, int] | None = setting(
        None,
        About(
            f"Height and width the model sees, in pixels: multiples of {_FIRST.size_multiple}"
            + "".join(f", of {family.size_multiple} for {family.name}" for family in _OTHERS)
            + ".",
            unit="pixels",
            minimum=16,
            maximum=LARGEST_SIDE,
            step=gcd(*(family.size_multiple for family in FAMILIES.values())),
            none="what it was trained at",
            rare=True,
        ),
    )
    window: int | None = setting(
        None,
        About(
            f"Frames seen at once: {_FIRST.frame_counts} ("
            + "; ".join(f"{family.frame_counts} for {family.name}" for family in _OTHERS)
            + "). Shorter needs less memory.",
            unit="frames",
            minimum=1,
            maximum=LONGEST_WINDOW,
            none=_MODELS_OWN,
            rare=True,
        ),
    )
    overlap: int | None = setting(
        None,
        About(
            "Frames two windows share and cross-fade over, at most half a window; protocol shot only.",
            unit="frames",
            minimum=0,
            maximum=500,
            none=_MODELS_OWN,
            rare=True,
        ),
    )
    cuts: Literal["auto"] | tuple[int, ...] = setting(
        "auto", About("Where takes begin: found (auto), nowhere (none), or at these frames, counted from 0.")
    )
    keep_aspect: bool = setting(
        False,
        About(
            "Fits frames into the size with their aspect kept; otherwise they are stretched, as REM was trained. "
            "Protocol shot only.",
            rare=True,
        ),
    )
    seed: int = setting(
        0,
        About(
            "Seed of the noise that ModelScope's denoiser takes. Wan takes none, and gives the same masks for every "
            "seed.",
            minimum=0,
            maximum=MAX_SEED,
            rare=True,
        ),
    )
    decoder: Literal["vae", "mask"] = setting(
        "vae",
        About(
            "What draws the masks. vae: the VAE's decoder, as in the paper. mask: a small one that was distilled from "
            "it, some seven times as fast, whose edges differ a little; REM-mini has one.",
            rare=True,
        ),
    )

    def __post_init__(self) -> None:
        check_values(SegmentSettings, **vars(self))


@dataclass(frozen=True)
class MaskSettings:
    """How the masks of a shot's layers are made with a segmenter.

    Attributes:
        close_up: whether the model looks a second time; see `CloseUp`. Protocol `shot` only.
        combine: how the layers share the picture; see `layers.combine`.
        threshold: a pixel is in a binary mask, and in an id map, where soft > threshold.

    Raises:
        ValueError: another way to combine, or a number out of range.
    """

    close_up: bool = setting(
        False,
        About(
            "For small things in large frames: the model looks a second time, at a crop that follows each mask, and "
            "the finer mask is blended in. Takes about twice as long.",
            rare=True,
        ),
    )
    combine: CombineMode = setting(
        "separate",
        About(
            "How several layers share the picture. separate: each has its own mask, they may overlap. union: one mask "
            "of all. exclusive: each pixel belongs to its strongest layer alone.",
            noun="way to combine layers",
        ),
    )
    threshold: float = setting(
        0.5,
        About(
            "The binary mask is where the soft mask lies above this. Lower takes in more.",
            minimum=0.0,
            maximum=1.0,
            step=0.01,
        ),
    )

    def __post_init__(self) -> None:
        check_values(MaskSettings, **vars(self))


def check_cuts(cuts: Iterable[int], frame_count: int) -> None:
    """Raise ValueError where a cut is none in a shot of `frame_count` frames."""
    for cut in cuts:
        if not 0 < cut < frame_count:
            raise ValueError(
                f"A take cannot begin at frame {cut}: the shot has frames 0 to {frame_count - 1}, and its first take "
                "begins at 0 anyway."
            )
