"""A video of masks, read with its alpha and without a conversion of what is grey."""

from __future__ import annotations

from collections.abc import Iterator

import av
import numpy as np
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..pixels import unit_values
from .decoded import is_deep, is_full_range, is_planar, plane_of
from .matte_values import StoredPicture, matte_channels
from .video import VideoShot, tag_of

_RGBA = ("R", "G", "B", "A")
# FFmpeg's own decoders of these leave the alpha out that libvpx reads.
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
_NEUTRAL = 2.5 / 255  # of the range: chroma that is as near to none makes R, G and B differ by no more than 4/255


class MaskVideo(VideoShot):
    """A video whose frames keep their alpha."""

    def stored_picture(self, index: int, asked: str = "") -> StoredPicture:
        """The channels of a frame that may be its matte; calls with rising indices are cheap.

        Args:
            index: of the frame.
            asked: as of `matte_channels`.

        Raises:
            ValueError: a frame that cannot be decoded, or no such channel.
        """
        pixels, name = self._frame(index), f"Frame {index} of {self.files[0].name}"
        channels = _RGBA[: pixels.shape[2]]
        colour, alpha = matte_channels(name, channels, asked)
        if (*colour, *alpha) != channels:
            pixels = pixels[..., [channels.index(channel) for channel in (*colour, *alpha)]]
        return StoredPicture(name, pixels, colour, alpha, self._white, is_lossy=True)

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        decoder = _WITH_ALPHA.get(stream.codec_context.codec.name)
        if decoder is None or tag_of(stream.metadata, "alpha_mode") != "1" or decoder not in av.codecs_available:
            return super()._decoded(container, stream)
        context = av.CodecContext.create(decoder, "r")
        assert isinstance(context, VideoCodecContext)
        return (frame for packet in container.demux(stream) for frame in context.decode(packet))

    def _stored(self, frame: VideoFrame) -> np.ndarray:
        """RGB or RGBA, float32 [H,W,C] in 0..1."""
        self._white = 65535 if is_deep(frame) else 255
        grey, alpha = _grey(frame), _alpha(frame)
        rgb = unit_values(super()._stored(frame)) if grey is None else np.repeat(grey[..., None], 3, axis=2)
        return rgb if alpha is None else np.dstack([rgb, alpha])


def _grey(frame: VideoFrame) -> np.ndarray | None:
    """The luma of a frame without colour, float32 [H,W] in 0..1; None of another. FFmpeg's conversion makes 0.996 of
    white."""
    name = frame.format.name
    if not name.startswith(("yuv", "gray")) or not is_planar(frame):
        return None
    bits = frame.format.components[0].bits
    scale = 2 ** (bits - 8)
    if name.startswith("yuv"):
        neutral, allowed = 128 * scale, max(1, round(_NEUTRAL * 256 * scale))
        if any(np.abs(plane_of(frame, index).astype(np.int32) - neutral).max() > allowed for index in (1, 2)):
            return None
    low, high = (0, 2**bits - 1) if is_full_range(frame) else (16 * scale, 235 * scale)
    return ((plane_of(frame, 0).astype(np.float32) - low) / np.float32(high - low)).clip(0.0, 1.0)


def _alpha(frame: VideoFrame) -> np.ndarray | None:
    """Float32 [H,W] in 0..1; None where there is none."""
    components = frame.format.components
    if frame.format.name != "pal8" and not any(component.is_alpha for component in components):
        return None
    if len(components) == 4 and is_planar(frame):
        return plane_of(frame, 3).astype(np.float32) / np.float32(2 ** components[3].bits - 1)
    white, form = (65535.0, "rgba64le") if is_deep(frame) else (255.0, "rgba")
    return frame.to_ndarray(format=form)[..., 3].astype(np.float32) / np.float32(white)
