"""Draws README's first pictures, the templates' thumbnails and the model card's picture, from the shipped weights.

    python -m benchmarks.pictures                      # all of them; a run of 72 frames comes first
    python -m benchmarks.pictures --only overlay card

The shipped shot is segmented by the command line, with the prompts of its listing, into the folder --work, and all is
drawn from the files of that run, so that a second call draws the same again. Without --only, the pictures of edges and
of Cryptomatte follow, by the scripts of their own. Those of the page are taken by tests/host/test_in_a_browser.py.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks import cryptomatte_picture, matte_pictures
from rem_engine import open_shot
from rem_engine.commands.cli import main as command_line
from rem_engine.correct import ShotMotion, corrected
from rem_engine.frames import ArrayFrames
from rem_engine.matte.colour import decontaminate
from rem_engine.media.overlay import draw_overlay
from rem_engine.metrics import region_similarity
from rem_engine.pixels import to_uint8
from rem_engine.shapes import read_shapes
from rem_engine.shapes.model import outline
from trainer.synth.sample import SHIPPED, composition, exact_mattes, target_matte

_ROOT = Path(__file__).resolve().parents[1]
_IMAGES, _TEMPLATES = _ROOT / "docs" / "images", _ROOT / "example_workflows"
_LAYERS = ("smoke", "steam", "star", "other", "circle")
_COLOURS = {
    "smoke": (235, 70, 110),
    "steam": (70, 160, 255),
    "star": (60, 230, 220),
    "other": (120, 235, 90),
    "circle": (175, 90, 235),
}
_OWN_COLOURS = {
    "smoke": (210, 210, 210),
    "steam": (150, 190, 235),
    "star": (225, 25, 45),
    "other": (60, 200, 210),
    "circle": (250, 145, 25),
}
"""As things are called, for layers that are shown without the plate."""
_SHOWN = 30
"""The frame of pictures that show one."""
_FOUR = (6, 26, 46, 66)
_GAP = 4
_WHITE, _DARK = (255, 255, 255), (24, 24, 24)


class _Run:
    """The shipped shot, and what the run over it wrote. Pictures are uint8 RGB, mattes float32 in 0..1."""

    def __init__(self, out: Path) -> None:
        self.out = out
        asked = [e for e in composition().expressions if e.text in _listed()]
        turning = [e.text for e in asked if e.targets == (3,)]  # by its motion where that is found, else by its colour
        texts = ("the smoke", "the steam", "the red star", turning[-1], "the orange circle")
        self.prompts = dict(zip(_LAYERS, texts, strict=True))
        given = [part for layer, text in self.prompts.items() for part in ("-p", f"{layer}: {text}")]
        written = "masks,soft,alpha,cryptomatte,shapes"
        if command_line(["segment", str(SHIPPED), *given, "-o", str(out), "--write", written]):
            raise SystemExit("the shipped shot could not be segmented")

    @cached_property
    def plates(self) -> np.ndarray:
        with open_shot(SHIPPED) as shot:
            return to_uint8(shot.read(0, shot.frame_count))

    @cached_property
    def exact(self) -> dict[str, np.ndarray]:
        asked, mattes = {e.text: e for e in composition().expressions}, exact_mattes()
        return {layer: target_matte(mattes, asked[text]) for layer, text in self.prompts.items()}

    def read(self, layer: str, kind: str, frame: int) -> np.ndarray:
        file = sorted((self.out / layer / kind).iterdir())[frame]
        stored = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        return np.asarray(stored, np.float32) / np.iinfo(stored.dtype).max

    def overlay(self, frame: int, layers: Sequence[str] = _LAYERS) -> np.ndarray:
        soft = np.stack([self.read(layer, "soft", frame) for layer in layers])
        labels, colours = [self.prompts[layer] for layer in layers], [_COLOURS[layer] for layer in layers]
        return draw_overlay(self.plates[frame], soft, labels, colours=colours)


def _listed() -> set[str]:
    return {*json.loads(SHIPPED.with_suffix(".json").read_text("utf-8"))["prompts"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("build/pictures"), help="folder of the run")
    parser.add_argument("--only", nargs="+", choices=_DRAWERS, default=[*_DRAWERS], help="(default: all)")
    arguments = parser.parse_args()
    run = _Run(arguments.work)
    for name in arguments.only:
        for file, picture in _DRAWERS[name](run).items():
            cv2.imwrite(str(file), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
            print(file)
    if arguments.only == [*_DRAWERS]:
        matte_pictures.draw(_IMAGES / "edges.jpg")
        cryptomatte_picture.draw(run.out, _SHOWN, ("star", "circle"), _IMAGES / "cryptomatte.jpg")


Pictures = dict[Path, np.ndarray]


def _overlay(run: _Run) -> Pictures:
    """README's first: four frames with what all prompts found."""
    return {_IMAGES / "overlay.jpg": _tiled([[run.overlay(frame) for frame in _FOUR[i : i + 2]] for i in (0, 2)], 0)}


def _mattes(run: _Run) -> Pictures:
    """README's second: from the plate to the composite, of the red star and of the smoke."""
    heads = (
        "the plate",
        "mask > 0.5",
        "the soft mask",
        "the matte (defaults)",
        "over another ground",
        "... decontaminated",
    )
    plate = run.plates[_SHOWN].astype(np.float32) / 255.0
    ground = np.float32((0.12, 0.4, 0.55))
    rows = []
    for layer in ("star", "smoke"):
        soft, alpha = run.read(layer, "soft", _SHOWN), run.read(layer, "alpha", _SHOWN)
        own = decontaminate(torch.from_numpy(plate), torch.from_numpy(alpha)).numpy()
        over = [colour * alpha[..., None] + ground * (1.0 - alpha[..., None]) for colour in (plate, own)]
        cut = _around(run.exact[layer][_SHOWN])
        tiles = (plate, _grey(soft > 0.5), _grey(soft), _grey(alpha), *over)
        rows.append([_resized(to_uint8(tile[cut]), (192, 144)) for tile in tiles])
    head = [_titled(np.full((24, 192, 3), 255, np.uint8), text, (0, 0, 0)) for text in heads]
    return {_IMAGES / "mattes.jpg": _tiled([head, *rows])}


def _card(run: _Run) -> Pictures:
    """The model card's: what it is asked for, its soft masks, and the exact mattes."""
    side = (224, 126)
    plate, drawn = run.plates[_SHOWN], run.overlay(_SHOWN)
    columns = [[_titled(_resized(plate, side), "the plate", _WHITE), _resized(drawn, side)]]
    for layer, text in run.prompts.items():
        exact = run.exact[layer]
        masks = np.stack([run.read(layer, "soft", frame) for frame in range(len(exact))]) > 0.5
        found = f"{text}: J {region_similarity(masks, exact > 0.5).mean():.2f}"
        soft = _resized(to_uint8(_grey(run.read(layer, "soft", _SHOWN))), side)
        truth = _resized(to_uint8(_grey(exact[_SHOWN])), side)
        columns.append([_titled(soft, found, _WHITE), _titled(truth, "exact", _WHITE)])
    return {_IMAGES / "rem-mini.jpg": _tiled([list(row) for row in zip(*columns)])}


def _thumbnails(run: _Run) -> Pictures:
    """Of the templates: what each of them makes of the shot."""
    plate = run.plates[_SHOWN]
    wiped = run.overlay(_SHOWN).copy()
    wiped[:, : wiped.shape[1] // 2] = plate[:, : wiped.shape[1] // 2]
    wiped[:, wiped.shape[1] // 2 - 1 : wiped.shape[1] // 2 + 1] = 255
    alphas = {layer: run.read(layer, "alpha", _SHOWN)[..., None] for layer in _LAYERS}
    layers = (
        sum(np.float32(_OWN_COLOURS[layer]) * alpha for layer, alpha in alphas.items()).clip(0, 255).astype(np.uint8)
    )
    smoke = alphas["smoke"]
    own = decontaminate(torch.from_numpy(plate.astype(np.float32) / 255.0), torch.from_numpy(smoke[..., 0])).numpy()
    y, x = np.mgrid[: plate.shape[0], : plate.shape[1]]
    checks = np.where((x // 20 + y // 20) % 2, 0.35, 0.5)[..., None].repeat(3, axis=-1)
    blue = (y / plate.shape[0])[..., None] * np.array((0.0, 0.2, 0.35)) + np.array((0.05, 0.2, 0.4))
    named = {
        "1 Segment a shot": wiped,
        "2 Segment your own video": run.overlay(_SHOWN),
        "3 Named layers for roto": layers,
        "4 Deliver a shot of any length": to_uint8(own * smoke + checks * (1.0 - smoke)),
        "5 REM on Wan 14B": to_uint8(own * smoke + blue * (1.0 - smoke)),
        "6 REM on ModelScope": to_uint8(smoke.repeat(3, axis=-1)),
        "7 Fix a few frames": _fixed(run),
        "8 Shapes and Cryptomatte": _shapes(run, ("smoke", "star", "circle")),
    }
    return {_TEMPLATES / f"{name}.jpg": picture for name, picture in named.items()}


def _fixed(run: _Run) -> np.ndarray:
    """Masks of the red star in two frames, and below them what one given mask makes of them."""
    start, key, other = 20, 26, 40
    frames = run.plates[start : start + 32]
    soft = np.stack([run.read("star", "soft", start + place) for place in range(len(frames))])
    given = {key - start: torch.from_numpy(run.exact["star"][key])}
    with ShotMotion.of(ArrayFrames(frames)) as motion:
        better = [mask.soft.numpy() for mask in corrected(torch.from_numpy(soft).__getitem__, given, motion)]
    cut = _around(run.exact["star"][key], 16 / 9)
    rows = []
    for masks in (soft, better):
        row = []
        for frame in (key, other):
            mask = masks[frame - start][None].clip(0.0, 1.0)
            drawn = draw_overlay(run.plates[frame], mask, [""], colours=[_COLOURS["star"]])
            row.append(_resized(drawn[cut], (318, 178)))
        rows.append(row)
    cv2.rectangle(rows[1][0], (0, 0), (317, 177), (255, 200, 0), 6)
    return _resized(_tiled(rows), (640, 360))


def _shapes(run: _Run, layers: Sequence[str]) -> np.ndarray:
    """Outlines and vertices of the shapes of layers, over the plate."""
    picture = np.ascontiguousarray(run.plates[_SHOWN])
    for layer in layers:
        (file,) = (run.out / layer).glob("*.shapes.json")
        for shape in read_shapes(file).shapes:
            points = shape.at(_SHOWN)
            if points is None:
                continue
            line = np.round((outline(points) - 0.5) * 16).astype(np.int32)
            cv2.polylines(picture, [line], True, _COLOURS[layer], 2, cv2.LINE_AA, 4)
            for x, y in points[:, 1]:
                cv2.rectangle(picture, (int(x) - 3, int(y) - 3), (int(x) + 3, int(y) + 3), _WHITE, -1)
    return picture


def _around(matte: np.ndarray, aspect: float = 4 / 3) -> tuple[slice, slice]:
    """A crop that holds what a matte shows, and some of what is round it."""
    rows, columns = np.flatnonzero((matte > 0.1).any(axis=1)), np.flatnonzero((matte > 0.1).any(axis=0))
    height = min(1.15 * max(np.ptp(rows), np.ptp(columns) / aspect), matte.shape[0])
    size = np.array((height, height * aspect)).round().astype(int)
    middle = np.array((rows.mean(), columns.mean()))
    first = np.clip((middle - size / 2).round().astype(int), 0, np.array(matte.shape) - size)
    return slice(first[0], first[0] + size[0]), slice(first[1], first[1] + size[1])


def _grey(plane: np.ndarray) -> np.ndarray:
    return np.asarray(plane, np.float32)[..., None].repeat(3, axis=-1)


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.ascontiguousarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def _titled(picture: np.ndarray, text: str, colour: tuple[int, int, int]) -> np.ndarray:
    if colour == _WHITE:
        cv2.putText(picture, text, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.42, _DARK, 3, cv2.LINE_AA)
    cv2.putText(picture, text, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
    return picture


def _tiled(rows: Sequence[Sequence[np.ndarray]], gap: int = _GAP) -> np.ndarray:
    """Pictures side by side and below one another, white between them."""
    drawn = []
    for row in rows:
        tiles = [cv2.copyMakeBorder(tile, gap, 0, gap, 0, cv2.BORDER_CONSTANT, value=_WHITE) for tile in row]
        drawn.append(np.concatenate(tiles, axis=1))
    return np.concatenate(drawn)[gap:, gap:]


_DRAWERS: dict[str, Callable[[_Run], Pictures]] = {
    "overlay": _overlay,
    "mattes": _mattes,
    "card": _card,
    "thumbnails": _thumbnails,
}


if __name__ == "__main__":
    main()
