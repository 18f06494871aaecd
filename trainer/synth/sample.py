"""The shot the pack ships: real footage with rendered things composited in, and what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from rem_engine.media import open_shot
from rem_engine.pixels import to_uint8, unit_values
from rem_engine.whole_files import written_whole

from .rich.draw import render
from .rich.thing import RichThing, Setting
from .rich.vocabulary import COLOURS, SIZES, held_out
from .scene import Expression, RenderedShot

SHIPPED = Path(__file__).parents[2] / "assets" / "sample_shot.mp4"
SEED = 1
"""Of the shot that is shipped."""
FIRST_FRAME, FRAMES, RATE = 40, 72, 24
"""Of the clip: the first frame that is used, how many are, and how many a second are shown."""
HEIGHT, WIDTH = 360, 640
SPAN = 9
"""Frames in which things turn and move as far as in a shot that REM-mini learns from; see `render`."""


@dataclass(frozen=True)
class Composition:
    """What is rendered over the clip, back to front, and what is asked of it, each sentence about things of a seed."""

    things: list[RichThing]
    expressions: list[Expression]


def composition(seed: int = SEED) -> Composition:
    """Smoke and steam, two stars of which one turns, and a circle that moves; where and how they look is the seed's.

    All is of combinations that REM-mini was trained on.
    """
    rng = np.random.default_rng(seed)

    def within(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    def own_seed() -> int:
        return int(rng.integers(2**31))

    def star(at: tuple[float, float], colour: str, motion: str) -> RichThing:
        centre = (at[0] + within(-0.02, 0.02), at[1] + within(-0.03, 0.03))
        return RichThing("star", None, centre, within(*SIZES["medium"]), own_seed(), colour, "medium", motion)

    other = str(rng.choice([c for c in COLOURS if c not in ("red", "orange", "black") and not held_out("star", c)]))
    red_at, other_at = rng.permutation([(0.54, 0.23), (0.63, 0.62)]).tolist()
    circle = RichThing(
        *("circle", None, (within(0.22, 0.26), within(0.78, 0.82)), within(0.13, 0.16), own_seed()),
        *("orange", "medium", "right"),
        path=(within(0.02, 0.03), 0.0),
    )
    things = [
        RichThing("smoke", "right", (within(0.80, 0.84), within(0.40, 0.50)), within(0.30, 0.36), own_seed()),
        RichThing("steam", "left", (within(0.14, 0.20), within(0.42, 0.54)), within(0.28, 0.34), own_seed()),
        star(red_at, "red", "still"),
        star(other_at, other, "rotating"),
        circle,
    ]
    asked: dict[str, int | tuple[int, ...]] = {
        "the smoke": 0,
        "the steam": 1,
        "the red star": 2,
        f"the {other} star": 3,
        "the star that turns": 3,
        "both stars": (2, 3),
        "the orange circle": 4,
    }
    return Composition(things, [Expression(text, target) for text, target in asked.items()])


def exact_mattes(seed: int = SEED, frames: int = FRAMES) -> np.ndarray:
    """float32 [N,T,360,640] in 0..1: how much of each pixel the things of `composition` show in the first frames."""
    return _over(np.zeros((frames, HEIGHT, WIDTH, 3), np.float32), seed).mattes


def target_matte(mattes: np.ndarray, expression: Expression) -> np.ndarray:
    """[T,H,W]: of `exact_mattes`, that of what a sentence names."""
    return np.asarray(mattes[[*expression.targets]].max(axis=0))


def rendered(clip: Path, seed: int = SEED) -> RenderedShot:
    """72 frames of 640x360 of a clip with a composition over them.

    Raises:
        ValueError: the clip is too short.
    """
    with open_shot(clip) as shot:
        if shot.frame_count < FIRST_FRAME + FRAMES:
            raise ValueError(f"{clip} has {shot.frame_count} frames; the sample shot needs {FIRST_FRAME + FRAMES}.")
        plate = unit_values(shot.read(FIRST_FRAME, FIRST_FRAME + FRAMES))
    small = np.stack([cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for frame in plate])
    return _over(small, seed)


def _over(plate: np.ndarray, seed: int) -> RenderedShot:
    frames, height, width = plate.shape[:3]
    things, rng = composition(seed).things, np.random.default_rng(seed)
    return render(things, Setting(), lambda *_: plate, rng, frames, height, width, span=SPAN)


def write_sample(clip: Path, path: Path, seed: int = SEED) -> None:
    """Encode `rendered` as H.264."""
    import av

    with written_whole(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(RATE), options={"crf": "23", "preset": "veryslow"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for picture in to_uint8(rendered(clip, seed).frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def in_words(thing: RichThing) -> str:
    """A thing by colour and kind, and what it does or where it is."""
    does = {"still": "that stands still", "rotating": "that turns", None: f"on the {thing.place}"}
    return " ".join(filter(None, (thing.colour, thing.kind, does.get(thing.motion, f"that moves {thing.motion}"))))
