"""Windows of a shot, and masks of them, at the size that the model sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch

from rem_engine.frames import FrameSource
from rem_engine.segment.model_frames import ModelFrames
from rem_engine.segment.window_plan import WindowPlan

from .tuning import Clip

MOST_CLIPS = 8
"""Of a shot, spread over what is corrected; memory does not grow with its length."""


def clips_of(
    frames: FrameSource,
    mask: Callable[[int], np.ndarray],
    takes: Sequence[range],
    cuts: Sequence[int],
    plan: WindowPlan,
) -> list[Clip]:
    """Windows within takes, as the engine cuts a shot into them; evenly spread ones of many.

    Args:
        frames: the shot.
        mask: gives that of a frame, float32 [H,W] in 0..1.
        takes: which of its frames have masks that are right.
        cuts: frames at which takes begin.
        plan: sizes and lengths of windows.
    """
    edges = (*cuts, frames.frame_count)

    def end_of_take(start: int, limit: int) -> int:
        return min(limit, next(edge for edge in edges if edge > start))

    of_shot = plan.windows(frames.frame_count, end_of_take)
    windows = [window for window in of_shot if any(window.start in take for take in takes)]
    chosen = np.unique(np.linspace(0, len(windows) - 1, min(len(windows), MOST_CLIPS)).round().astype(int))
    size = plan.size_for(frames.height, frames.width)
    pixels = ModelFrames(frames, size, eight_bit=plan.paper, cuts=(), keep_from=0)
    clips = []
    for place in chosen:
        window = windows[place]
        seen = pixels.window(window)
        places = [min(window.start + i, window.stop - 1) for i in range(window.length)]
        masks = [cv2.resize(mask(one), size[::-1], interpolation=cv2.INTER_AREA) for one in places]
        clips.append(Clip(seen, torch.from_numpy(np.stack(masks)).clamp(0.0, 1.0)))
    return clips
