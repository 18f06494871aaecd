"""A playing preview of a shot and its mattes on a node: one video for the host's own player, one for the pack's.

The pack's widget (`web/matte_preview.js`) mixes the plate and the masks itself: as an overlay, a matte, over a checker.
Its video holds them side by side in tiles of one size: the plate, then a grey tile for each layer. Both are small, and
are written frame by frame, so that neither length nor size of the shot counts in memory.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import ceil, isqrt
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import cv2
import folder_paths
import numpy as np
import torch
from comfy_api.latest import io, ui

from ...rem_engine.media.overlay import OverlayColours, draw_overlay
from ...rem_engine.media.shot import ShotInfo
from ...rem_engine.media.writing import VideoWriter
from ...rem_engine.pixels import to_uint8
from .previews import over_checker
from .schema import NodeProgress

View = Literal["overlay", "checker"]
"""What the host's own player shows, and the pack's at first."""

_SIDE = 512  # pixels of a tile at most
_LAYERS = 15  # with the plate four by four tiles; further layers are joined into the last
_LIVE_SECONDS = 0.5  # between two pictures while the node runs
_RATE = Fraction(24)  # frames per second where nothing says how many


class MattePreview:
    """Takes the frames of a shot in order, shows some of them while the node runs, and gives what the node returns.

    Args:
        names: of the layers, as a legend shows them.
        height, width: of the shot, pixels.
        rate: frames per second; None where they are not known.
        view: see `View`.
        progress: shows pictures while the node runs.
        colours: of the layers, as `OverlayColours` takes them.
        texts: tags of the host's own player's video: the graph, where that is kept among the results.
    """

    def __init__(
        self,
        names: Sequence[str],
        height: int,
        width: int,
        rate: Fraction | None,
        view: View,
        progress: NodeProgress,
        colours: Sequence[str] = (),
        texts: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._names = [*names[:_LAYERS]]
        if len(names) > _LAYERS:
            self._names[-1] = f"{names[_LAYERS - 1]} + {len(names) - _LAYERS} more"
        self._view, self._progress, self._rate = view, progress, rate or _RATE
        scale = min(1.0, _SIDE / max(height, width))
        # Even, as the chroma of yuv420p wants every tile.
        self._tile = tuple(max(2, 2 * round(scale * side / 2)) for side in (height, width))
        self._columns = isqrt(len(self._names)) + 1 if self._names else 1
        rows = ceil((1 + len(self._names)) / self._columns)
        self._packed = np.zeros((rows * self._tile[0], self._columns * self._tile[1], 3), np.uint8)
        self._colours = OverlayColours(len(self._names), colours[: len(self._names)])
        self._chosen: list[tuple[int, int, int]] = []
        self._count, self._last_shown = 0, 0.0
        name = f"matte_preview_{uuid.uuid4().hex}"
        self._shown = _TempVideo(f"{name}.mp4", self._tile, self._rate, texts)
        self._tiles = _TempVideo(f"{name}_tiles.mp4", self._packed.shape[:2], self._rate, {})

    def add(self, plate: np.ndarray, masks: np.ndarray) -> None:
        """Take the next frame.

        Args:
            plate: [H,W,3], uint8 or 0..1.
            masks: of its layers, float [L,H,W], nominally 0..1.
        """
        small = cv2.resize(to_uint8(plate), self._tile[::-1], interpolation=cv2.INTER_AREA)
        joined = masks if len(masks) <= _LAYERS else [*masks[: _LAYERS - 1], masks[_LAYERS - 1 :].max(axis=0)]
        layers = np.stack(
            [
                cv2.resize(np.asarray(mask, np.float32), self._tile[::-1], interpolation=cv2.INTER_AREA)
                for mask in joined
            ]
        )
        self._chosen = self._colours.at(small, layers)
        for place, tile in enumerate((small, *(to_uint8(layer)[..., None] for layer in layers))):
            row, column = divmod(place, self._columns)
            top, left = row * self._tile[0], column * self._tile[1]
            self._packed[top : top + self._tile[0], left : left + self._tile[1]] = tile
        drawn = self._drawn(small, layers)
        self._shown.write(drawn)
        self._tiles.write(self._packed)
        self._count += 1
        if time.monotonic() - self._last_shown > _LIVE_SECONDS:
            self._progress.show(drawn)
            self._last_shown = time.monotonic()

    def close(self) -> None:
        """Let go of the files, unfinished ones too."""
        self._shown.close()
        self._tiles.close()

    def ui(self) -> dict[str, Any]:
        """What the node shows: the host's `PreviewVideo`, and what the pack's widget needs."""
        self.close()
        described = {
            "tiles": self._tiles.result,
            "tile": [self._tile[1], self._tile[0]],
            "columns": self._columns,
            "frames": self._count,
            "fps": float(self._rate),
            "view": self._view,
            "layers": [
                {"name": name, "colour": "#{:02x}{:02x}{:02x}".format(*colour)}
                for name, colour in zip(self._names, self._chosen)
            ],
        }
        return ui.PreviewVideo([self._shown.result]).as_dict() | {"matte_preview": [described]}

    def _drawn(self, plate: np.ndarray, layers: np.ndarray) -> np.ndarray:
        if self._view == "checker":
            return over_checker(torch.from_numpy(plate).float() / 255.0, torch.from_numpy(layers).clamp(0.0, 1.0))
        return draw_overlay(plate, layers, self._names, colours=self._chosen)


class _TempVideo:
    """A video in the host's folder of temporary files, opened with its first frame."""

    def __init__(self, name: str, size: tuple[int, ...], rate: Fraction, texts: Mapping[str, str]) -> None:
        self.result = ui.SavedResult(name, "", io.FolderType.temp)
        self._path = Path(folder_paths.get_temp_directory()) / name
        self._info, self._texts = ShotInfo(size[0], size[1], rate), texts
        self._writer: VideoWriter | None = None

    def write(self, frame: np.ndarray) -> None:
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = VideoWriter(self._path, self._info, self._texts)
        self._writer.write(frame)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
