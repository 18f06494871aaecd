"""A small shot with mattes to be delivered, and readers that share no code with what wrote them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import OpenEXR
import OpenImageIO as oiio
import torch

from rem_engine import matte
from rem_engine.media.numbering import counted
from rem_engine.media.shot import ShotInfo
from rem_engine.run.delivery import Delivery
from rem_engine.run.delivery_settings import DeliverySettings

FPS = Fraction(24000, 1001)
LAYERS = ("smoke", "fire")


@dataclass(frozen=True)
class Frame:
    """Scene-linear and display-referred plate [H,W,3], alphas and decontaminated colours of two layers."""

    linear: np.ndarray
    display: np.ndarray
    alpha: np.ndarray
    foreground: np.ndarray

    def matted(self, index: int, layers: int = 2, *, decontaminated: bool = False) -> matte.Frame:
        """As the matte stage gives it, with its first layers."""
        alpha = torch.from_numpy(self.alpha[:layers])
        foreground = torch.tensor(self.foreground[:layers]) if decontaminated else None
        return matte.Frame(index, alpha, torch.tensor(self.display), torch.tensor(self.linear), alpha, foreground)


def frames(count: int, height: int = 48, width: int = 64) -> list[Frame]:
    """Discs with soft, grainy edges and solid cores that move over a smooth plate with highlights up to 6."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    rng = np.random.default_rng(0)
    made = []
    for index in range(count):
        linear = np.stack([x / width, y / height, (x + y) / (width + height)], axis=-1) ** 2
        linear[: height // 4, : width // 4] += 5.0
        alphas = []
        for left, top in ((0.3, 0.4), (0.6, 0.5)):
            distance = np.hypot(y - top * height, x - left * width - index)
            alpha = np.clip(1.6 - distance / (0.2 * height), 0.0, 1.0)
            alphas.append(np.clip(alpha + (alpha > 0) * (alpha < 1) * rng.normal(0.0, 0.02, alpha.shape), 0.0, 1.0))
        display = encoded(linear).astype(np.float32)
        colours = np.array([[0.8, 0.3, 0.1], [0.2, 0.5, 0.9]], np.float32)
        foreground = 0.5 * display + 0.5 * np.broadcast_to(colours[:, None, None], (2, height, width, 3))
        made.append(Frame(linear.astype(np.float32), display, np.float32(alphas), foreground.astype(np.float32)))
    return made


def encoded(linear: np.ndarray) -> np.ndarray:
    """The sRGB curve as IEC 61966-2-1 prints it, in double precision, over 0..1."""
    linear = np.clip(linear.astype(np.float64), 0.0, 1.0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def decoded(display: np.ndarray) -> np.ndarray:
    """Its inverse, as printed there."""
    display = display.astype(np.float64)
    return np.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4)


def deliver(
    out: Path,
    shot: list[Frame],
    *,
    info: ShotInfo | None = None,
    layers: tuple[str, ...] = LAYERS,
    decontaminated: bool = False,
    name: str = "shot",
    **settings: object,
) -> Delivery:
    """Write a shot; its layers are the first ones of each frame's alphas."""
    info = info or ShotInfo(*shot[0].display.shape[:2], FPS)
    form = DeliverySettings(**settings)
    numbering = counted(name, len(shot)).delivered(start=form.start, digits=form.padding)
    delivery = Delivery(out, numbering, layers, info, form)
    count = len(layers)
    for index, frame in enumerate(shot):
        delivery.write(frame.matted(index, count, decontaminated=decontaminated))
    delivery.close()
    return delivery


def openexr_channels(path: Path) -> dict[str, np.ndarray]:
    """Channels by name, as OpenEXR's own reader gives them."""
    with OpenEXR.File(str(path), separate_channels=True) as file:
        return {name: channel.pixels for name, channel in file.channels().items()}


def openexr_header(path: Path) -> dict[str, object]:
    with OpenEXR.File(str(path), header_only=True) as file:
        return dict(file.header())


def oiio_pixels(path: Path) -> tuple[np.ndarray, oiio.ImageSpec]:
    """[H,W,C] float32 as stored (straight alpha is not multiplied in), and the specification, by OpenImageIO."""
    hints = oiio.ImageSpec()
    hints.attribute("oiio:UnassociatedAlpha", 1)
    picture = oiio.ImageInput.open(str(path), hints)
    assert picture is not None, oiio.geterror()
    try:
        return picture.read_image(oiio.FLOAT), picture.spec()
    finally:
        picture.close()


def video_rgba(path: Path) -> list[np.ndarray]:
    """Frames [H,W,4] in 0..1 by FFmpeg's decoders; VP9 through libvpx, since FFmpeg's own drops the alpha."""
    read = []
    with av.open(path) as container:
        stream = container.streams.video[0]
        decoder = av.CodecContext.create("libvpx-vp9", "r") if stream.codec.name == "vp9" else stream.codec_context
        for packet in container.demux(stream):
            for picture in decoder.decode(packet):
                read.append(picture.to_ndarray(format="rgba64le").astype(np.float64) / 65535.0)
    return read


def video_alpha(path: Path) -> list[np.ndarray]:
    """Alphas [H,W] in 0..1 as the decoder gives them, without FFmpeg's colour conversion."""
    read = []
    with av.open(path) as container:
        stream = container.streams.video[0]
        decoder = av.CodecContext.create("libvpx-vp9", "r") if stream.codec.name == "vp9" else stream.codec_context
        for packet in container.demux(stream):
            for picture in decoder.decode(packet):
                plane, bits = picture.planes[3], picture.format.components[3].bits
                rows = np.frombuffer(plane, np.uint16 if bits > 8 else np.uint8).reshape(plane.height, -1)
                read.append(rows[:, : plane.width].astype(np.float64) / (2**bits - 1))
    return read
