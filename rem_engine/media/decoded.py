"""The pixels of a decoded picture of a video, as its file holds them.

FFmpeg's own conversion rounds 8-bit Y'CbCr to 8-bit R'G'B', gives two neighbours one chroma where it is in a hurry, and
makes 0.996 of white where it is asked for more than 8 bits (`reformat` to rgb24, and to rgb48le or gbrpf32le). So it
unpacks planes here, which it does exactly, and the matrix is computed in floating point.
"""

from __future__ import annotations

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange

from .colour import LUMA, UNSPECIFIED, default_matrix, luma_weights

_SUBSAMPLING = {(1, 1): "444", (2, 1): "422", (2, 2): "420"}
"""In FFmpeg's names, by how many columns and rows share a chroma."""
_OTHERS = ("xyz", "rgb", "bgr")  # of three components without the flag of R, G, B
_MEASURE = 256  # pixels, of which a whole number shares a chroma


def rgb_pixels(frame: VideoFrame) -> np.ndarray:
    """RGB [H,W,3] of a decoded frame: uint8 where its file holds R, G and B of 8 bits, else float32 in 0..1.

    Y'CbCr is converted by the frame's matrix and range tags, and `default_matrix` where it has none.
    """
    # FFmpeg would take 601's matrix for frames of any size.
    matrix = frame.colorspace if says_matrix(frame) else default_matrix(frame.height, frame.color_primaries)
    if _holds_luma_and_chroma(frame) and matrix in LUMA:
        return _from_luma(frame, luma_weights(matrix))
    if not is_deep(frame):
        return frame.reformat(format="rgb24", src_colorspace=matrix).to_ndarray()
    components = frame.format.components
    if frame.format.is_rgb and is_planar(frame):  # G, B, R
        planes = [plane_of(frame, index) for index in (2, 0, 1)]
        return np.stack(planes, axis=-1).astype(np.float32) / np.float32(2 ** components[0].bits - 1)
    if len(components) == 1 and is_planar(frame):
        grey = plane_of(frame, 0).astype(np.float32) / np.float32(2 ** components[0].bits - 1)
        return np.repeat(grey[..., None], 3, axis=2)
    return frame.reformat(format="rgb48le", src_colorspace=matrix).to_ndarray().astype(np.float32) / np.float32(65535)


def is_deep(frame: VideoFrame) -> bool:
    """Whether a frame holds more than 8 bits a channel."""
    return max(component.bits for component in frame.format.components) > 8


def says_matrix(frame: VideoFrame) -> bool:
    """Whether it is known by which matrix its planes are R, G, B."""
    return frame.format.is_rgb or frame.colorspace != UNSPECIFIED


def is_full_range(frame: VideoFrame) -> bool:
    """Whether black and white of its luma are the ends of its numbers."""
    return frame.color_range == ColorRange.JPEG or frame.format.name.startswith(("yuvj", "gray"))


def is_planar(frame: VideoFrame) -> bool:
    """Whether each component is a plane of integers."""
    return len(frame.planes) == len(frame.format.components) and "f" not in frame.format.name


def plane_of(frame: VideoFrame, index: int) -> np.ndarray:
    """Integers [h,w] of a component of a planar frame, as they are stored."""
    plane = frame.planes[index]
    size = 2 if is_deep(frame) else 1
    kind = ">u2" if frame.format.name.endswith("be") else "<u2"
    values = np.frombuffer(plane, kind if size == 2 else np.uint8)
    return values.reshape(-1, plane.line_size // size)[: plane.height, : plane.width]


def _holds_luma_and_chroma(frame: VideoFrame) -> bool:
    form = frame.format
    colours = sum(not component.is_alpha for component in form.components)
    return colours == 3 and not form.is_rgb and not form.name.startswith(_OTHERS)


def _from_luma(frame: VideoFrame, weights: tuple[float, float, float]) -> np.ndarray:
    """Y'CbCr to R'G'B' in 0..1 (ITU-T H.273, 8.3), by the weights of red, green and blue in luma."""
    form, bits = frame.format, frame.format.components[0].bits
    sharing = (_MEASURE // form.chroma_width(_MEASURE), _MEASURE // form.chroma_height(_MEASURE))
    full = is_full_range(frame)
    if not is_planar(frame):
        own = ColorRange.JPEG if full else ColorRange.MPEG
        planar = f"yuv{_SUBSAMPLING.get(sharing, '444')}p" + (f"{bits}le" if bits > 8 else "")
        frame = frame.reformat(format=planar, src_color_range=own, dst_color_range=own)
    luma, blue, red = (plane_of(frame, index).astype(np.float32) for index in range(3))
    black, white, chroma = (0, 2**bits - 1, 2**bits - 1)
    if not full:
        black, white, chroma = (level * 2 ** (bits - 8) for level in (16, 235, 224))
    luma -= black
    luma /= white - black
    blue, red = (_spread((one - 2 ** (bits - 1)) / chroma, luma.shape, sharing) for one in (blue, red))
    of_red, of_green, of_blue = weights
    pixels = np.empty((*luma.shape, 3), np.float32)
    pixels[..., 0] = luma + 2 * (1 - of_red) * red
    pixels[..., 2] = luma + 2 * (1 - of_blue) * blue
    in_green = 2 * (1 - of_red) * of_red / of_green, 2 * (1 - of_blue) * of_blue / of_green
    pixels[..., 1] = luma - cv2.addWeighted(red, in_green[0], blue, in_green[1], 0.0)
    return np.clip(pixels, 0.0, 1.0, out=pixels)


def _spread(chroma: np.ndarray, shape: tuple[int, ...], sharing: tuple[int, int]) -> np.ndarray:
    """A plane of chroma at the luma's size, between whose samples it is linear."""
    if chroma.shape == shape:
        return chroma
    columns, rows = sharing
    size = (chroma.shape[1] * columns, chroma.shape[0] * rows)  # an odd side has a sample more than half of it
    return cv2.resize(chroma, size, interpolation=cv2.INTER_LINEAR)[: shape[0], : shape[1]]
