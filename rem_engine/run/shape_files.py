"""Roto shapes of a delivery: made while frames pass, written once the last has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..matte.motion import Picture, motions_between
from ..media.numbering import Numbering
from ..media.shot import ShotInfo
from ..progress import SILENT, Progress
from ..shapes.after_effects import after_effects_script
from ..shapes.blender import blender_script
from ..shapes.json_file import shapes_json
from ..shapes.maker import ShapeMaker
from ..shapes.model import ShapeSet
from ..shapes.nuke import nuke_script
from ..shapes.settings import ShapeSettings
from ..shapes.silhouette import silhouette_file
from ..whole_files import written_whole
from ..wording import number_of

_WRITERS: dict[str, Callable[[ShapeSet], str]] = {
    "shapes": shapes_json,
    "shapes_nk": nuke_script,
    "shapes_fxs": silhouette_file,
    "shapes_py": blender_script,
    "shapes_jsx": after_effects_script,
}


class ShapeFiles:
    """The shapes of the layers of a shot.

    Attributes:
        made: what came out, by layer; {} before `write`.
    """

    def __init__(
        self,
        numbering: Numbering,
        layers: Sequence[str],
        info: ShotInfo,
        settings: ShapeSettings,
        cuts: Callable[[], Collection[int]],
    ) -> None:
        """See `Delivery`."""
        self._numbering, self._info, self._cuts = numbering, info, cuts
        self._makers = {layer: ShapeMaker(layer, settings) for layer in layers}
        self._before: Picture | None = None
        self.made: dict[str, ShapeSet] = {}

    def add(self, index: int, plate: np.ndarray, alpha: np.ndarray) -> None:
        """Take up the next frame.

        Args:
            index: its place in the shot.
            plate: display-referred, float32 [H,W,3] in 0..1.
            alpha: float32 [L,H,W].
        """
        picture = Picture.of(plate)
        begins = self._before is None or index in self._cuts()
        motion = None if begins or self._before is None else motions_between(self._before, picture)[0]
        for maker, matte in zip(self._makers.values(), alpha, strict=True):
            maker.add(index, matte, motion)
        self._before = picture

    def write(self, path_of: Callable[[str, str], Path], progress: Progress = SILENT) -> list[Path]:
        """Make the shapes and write their files, each whole or not at all.

        Args:
            path_of: the file of a kind and a layer.
            progress: told "shapes".
        """
        fps, numbers = self._info.fps, tuple(self._numbering.numbers)
        rate = None if fps is None else float(fps)
        self.made = {layer: maker.finish(rate, numbers, progress) for layer, maker in self._makers.items()}
        written = []
        for layer, shapes in self.made.items():
            for kind, writer in _WRITERS.items():
                path = path_of(kind, layer)
                path.parent.mkdir(parents=True, exist_ok=True)
                with written_whole(path) as temporary:
                    temporary.write_text(writer(shapes), encoding="utf-8", newline="\n")
                written.append(path)
        return written

    def account(self) -> dict[str, Any]:
        """What run.json says of them, by layer."""
        return {
            layer: {
                "shapes": len(made.shapes),
                "keys": made.key_count,
                "vertices": max((shape.vertices for shape in made.shapes), default=0),
                "miss": round(max((shape.miss for shape in made.shapes), default=0.0), 3),
                "soft": made.soft,
            }
            for layer, made in self.made.items()
        }

    def notes(self) -> list[str]:
        """What is to be said of them, a sentence a layer."""
        return [_note(shapes, self._makers[layer].left_out) for layer, shapes in self.made.items()]


def _note(shapes: ShapeSet, left_out: int) -> str:
    if not shapes.shapes:
        return (
            f"The mattes of {shapes.layer} have no outline, so that its files hold no shapes: look at the mattes, or "
            "lower --shape-area."
        )
    most = max(shape.vertices for shape in shapes.shapes)
    miss = max(shape.miss for shape in shapes.shapes)
    count, keys = number_of(len(shapes.shapes), "shape"), number_of(shapes.key_count, "key")
    what = f"{shapes.layer}: {count}, {keys}, at most {most} vertices, within {miss:.2g} pixels"
    if shapes.soft:
        wide = sorted({round(shape.feather) for shape in shapes.shapes})
        feathers = f"{wide[0]} to {wide[-1]}" if len(wide) > 1 else f"{wide[0]}"
        what += (
            f" of feathers {feathers} wide; it has no edge, and its shapes are outlines at three levels of the matte"
        )
    if left_out:
        regions = number_of(left_out, "region")
        what += f"; {regions} of a frame and level, the smallest, got none, since the 64 largest do: raise --shape-area"
    return f"{what}."
