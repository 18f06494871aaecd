"""What lies behind the things of a synthetic shot: procedural plates, and real clips where a folder holds some."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from rem_engine.media import open_shot

from .noise import value_noise

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv")
STORED_HEIGHT = 144
"""Real clips are kept at this height in memory; training crops are smaller."""


class RealClips:
    """Frames of real clips, read once, from which plates are cropped.

    Args:
        folder: holds video files; other files are left alone.

    Raises:
        FileNotFoundError: the folder holds no video file.
    """

    def __init__(self, folder: Path) -> None:
        paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)
        if not paths:
            raise FileNotFoundError(f"{folder} holds no video ({', '.join(VIDEO_SUFFIXES)}); put some clips there.")
        self.clips = [_read_small(path) for path in paths]

    def plate(self, rng: np.random.Generator, frames: int, height: int, width: int) -> np.ndarray:
        """A random crop in space and time, sometimes mirrored: float32 [T,H,W,3] in 0..1."""
        clip = self.clips[rng.integers(len(self.clips))]
        count, full_height, full_width = clip.shape[:3]
        start = rng.integers(max(count - frames, 0) + 1)
        indices = np.minimum(start + np.arange(frames), count - 1)
        crop_height = int(full_height * rng.uniform(0.45, 1.0))
        crop_width = min(int(crop_height * width / height), full_width)
        top = rng.integers(full_height - crop_height + 1)
        left = rng.integers(full_width - crop_width + 1)
        crop = clip[indices, top : top + crop_height, left : left + crop_width]
        if rng.random() < 0.5:
            crop = crop[:, :, ::-1]
        resized = [cv2.resize(np.ascontiguousarray(f), (width, height), interpolation=cv2.INTER_AREA) for f in crop]
        return np.stack(resized).astype(np.float32) / 255


def _read_small(path: Path) -> np.ndarray:
    with open_shot(path) as shot:
        width = round(shot.width * STORED_HEIGHT / shot.height)
        frames = [
            cv2.resize(shot.read(i, i + 1)[0], (width, STORED_HEIGHT), interpolation=cv2.INTER_AREA)
            for i in range(shot.frame_count)
        ]
    return np.stack(frames)


def procedural(rng: np.random.Generator, frames: int, height: int, width: int) -> np.ndarray:
    """A muted plate (gradient, noise, stripes or chequers) under a slow pan: float32 [T,H,W,3] in 0..1."""
    margin = max(height // 6, 4)
    tall, wide = height + 2 * margin, width + 2 * margin
    first, second = rng.uniform(0.08, 0.75, 3), rng.uniform(0.08, 0.75, 3)
    y, x = np.mgrid[:tall, :wide].astype(np.float32) / height
    style = rng.integers(4)
    angle = rng.uniform(0, np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    if style == 0:
        mix = (along - along.min()) / np.ptp(along)
    elif style == 1:
        mix = value_noise(rng, tall, wide, cell=rng.uniform(0.15, 0.6) * height)
    elif style == 2:
        mix = 0.5 + 0.5 * np.sin(along * rng.uniform(10, 40))
    else:
        pitch = rng.uniform(0.08, 0.3)
        mix = (np.floor(x / pitch) + np.floor(y / pitch)) % 2
    mix = np.clip(0.8 * mix + 0.2 * value_noise(rng, tall, wide, cell=0.1 * height), 0, 1)[..., None]
    picture = (first * mix + second * (1 - mix)).astype(np.float32)
    pan = rng.uniform(-1, 1, 2) * margin * (rng.random() < 0.5)
    out = []
    for t in np.linspace(-1, 1, frames) if frames > 1 else (0.0,):
        shift = np.array([[1, 0, pan[0] * t - margin], [0, 1, pan[1] * t - margin]], np.float32)
        out.append(cv2.warpAffine(picture, shift, (width, height), borderMode=cv2.BORDER_REFLECT))
    return np.clip(np.stack(out), 0, 1)
