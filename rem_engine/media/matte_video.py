"""Videos with alpha: ProRes 4444 and WebM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from .colour import REC_709, luma_weights
from .hdr import HDR_TRANSFERS, HdrMetadata, quicktime_boxes
from .matroska import PLACEHOLDER, describe_pictures, light_elements, shape_elements
from .quicktime import add_to_picture_description
from .shot import ShotInfo
from .writing import VideoFile

_BAND = 16  # rows


class ProResWriter(VideoFile):
    """ProRes 4444 in a QuickTime file: 10-bit limited-range colour in 4:4:4, alpha of 10 bits stored as 16.

    Colours go from float straight to 10 bits by the matrix that the file is tagged with (see `ShotInfo.picture_tags`),
    its transfer and primaries untouched. The alpha loses nothing but its rounding to 10 bits: 0.0005 at
    most, and 0 and 1 are exact. Any size; no pixel is added. Interlaced frames are stored as such, HDR pictures with
    their metadata, and the shot's sound without loss.
    """

    # A fixed quantiser: five times as quick as the search for a bit rate, and the quality is the same in every frame.
    # Of FFmpeg's two encoders, prores_aw stores an opaque alpha as 0.9990.
    _OPTIONS = {"profile": "4444", "alpha_bits": "16", "flags": "+qscale", "global_quality": str(2 * 118)}

    def __init__(self, path: Path, info: ShotInfo, texts: Mapping[str, str]) -> None:
        """Args: where it is written; what is known of the shot, of which the timecode must exist at its rate; tags."""
        self._to_yuv = _encoding(info, bits=10)
        size = (info.height, info.width)
        super().__init__(path, "mov", "prores_ks", self._OPTIONS, "yuva444p10le", size, info, "pcm", texts)
        self._path = path
        self._boxes = quicktime_boxes(_light_of(info))

    def write(self, rgb: np.ndarray, alpha: np.ndarray) -> None:
        """Append a frame: float32 [H,W,3] and [H,W] in 0..1."""

        def planes() -> Iterator[tuple[int, Sequence[np.ndarray]]]:
            for rows in _bands(rgb.shape[0]):
                yuv = cv2.transform(_in_range(rgb[rows]), self._to_yuv).astype(np.uint16)
                yield rows.start, (*cv2.split(yuv), _rounded(alpha[rows], 1023, np.uint16))

        self._encode_bands("yuva444p10le", planes())

    def close(self) -> None:
        super().close()
        if self._boxes:
            add_to_picture_description(self._path, self._boxes)


class WebMWriter(VideoFile):
    """VP9 with alpha in a WebM file: 8-bit limited-range colour in 4:2:0, alpha of 8 bits at full size.

    Encoded without loss, so that the alpha is off by its rounding to 8 bits and no more (0.002 at most, 0.001 on
    average). A frame with an odd side is padded by repeating its last row or column, since 4:2:0 halves both.
    """

    # The alpha has no quality of its own: a lossy one that stays within 0.002 on grain is hardly smaller.
    # Without alternate references, since FFmpeg refuses them beside an alpha. "realtime" is the quick search.
    _OPTIONS = {"lossless": "1", "auto-alt-ref": "0", "deadline": "realtime", "cpu-used": "7", "row-mt": "1"}

    def __init__(self, path: Path, info: ShotInfo, texts: Mapping[str, str]) -> None:
        """Args: where it is written; what is known of the shot, of which the timecode must exist at its rate; tags."""
        self._to_yuv = _encoding(info, bits=8)
        self._padding = (0, info.height % 2, 0, info.width % 2)
        size = (info.height + info.height % 2, info.width + info.width % 2)
        super().__init__(path, "webm", "libvpx-vp9", self._OPTIONS, "yuva420p", size, info, texts=texts)
        self._path = path
        self._shape = {} if info.pixel_aspect == 1 else shape_elements(*size, info.pixel_aspect)
        self._light = light_elements(_light_of(info))
        if self._shape or self._light:
            self._stream.metadata["title"] = PLACEHOLDER

    def write(self, rgb: np.ndarray, alpha: np.ndarray) -> None:
        """Append a frame: float32 [H,W,3] and [H,W] in 0..1."""
        rgb = cv2.copyMakeBorder(_in_range(rgb), *self._padding, cv2.BORDER_REPLICATE)
        alpha = cv2.copyMakeBorder(alpha, *self._padding, cv2.BORDER_REPLICATE)
        half = cv2.resize(rgb, (rgb.shape[1] // 2, rgb.shape[0] // 2), interpolation=cv2.INTER_AREA)
        luma = cv2.transform(rgb, self._to_yuv[:1]).astype(np.uint8)
        chroma = cv2.transform(half, self._to_yuv[1:]).astype(np.uint8)
        self._encode_planes("yuva420p", [luma, *cv2.split(chroma), _rounded(alpha, 255, np.uint8)])

    def close(self) -> None:
        super().close()
        if self._shape or self._light:
            describe_pictures(self._path, self._shape, self._light)


def _encoding(info: ShotInfo, bits: int) -> np.ndarray:
    """The matrix that the shot's pictures are tagged with: float32 [3,4] from R'G'B' in 0..1 to limited-range Y'CbCr of
    so many bits (ITU-T H.273, 8.3), half a step higher, so that cutting off rounds."""
    luma = np.array(luma_weights(info.picture_tags.matrix or REC_709))
    red, _, blue = luma
    cb = (np.array([0.0, 0.0, 1.0]) - luma) / (2.0 * (1.0 - blue))
    cr = (np.array([1.0, 0.0, 0.0]) - luma) / (2.0 * (1.0 - red))
    step = 2.0 ** (bits - 8)
    rows = [[*(219.0 * step * luma), 16.0 * step + 0.5]]
    rows += [[*(224.0 * step * chroma), 128.0 * step + 0.5] for chroma in (cb, cr)]
    return np.array(rows, np.float32)


def _light_of(info: ShotInfo) -> HdrMetadata:
    """What the pictures are to say of their light; nothing where they are of no HDR."""
    return info.hdr if info.hdr and info.picture_tags.transfer in HDR_TRANSFERS else HdrMetadata()


def _in_range(rgb: np.ndarray) -> np.ndarray:
    return np.clip(rgb, 0.0, 1.0, dtype=np.float32)


def _bands(height: int) -> Iterator[slice]:
    """Rows of a frame, so many at a time that what is made of them fits into the cache."""
    return (slice(top, min(top + _BAND, height)) for top in range(0, height, _BAND))


def _rounded(values: np.ndarray, white: int, dtype: type) -> np.ndarray:
    # Halves go up, as those of the colours beside them; those of `pixels` go to even.
    return (values.clip(0.0, 1.0) * np.float32(white) + np.float32(0.5)).astype(dtype)
