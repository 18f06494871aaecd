"""Delivered ProRes and WebM files, decoded by FFmpeg's ProRes decoder and by libvpx."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from delivered import FPS, Frame, deliver, frames, video_alpha, video_rgba

from rem_engine.media import open_shot
from rem_engine.media import writing as writing_module
from rem_engine.media.colour import ColourTags
from rem_engine.media.shot import ShotInfo

FILES = {"prores": "shot.mov", "webm": "shot.webm"}
EVEN_ALPHA = np.linspace(0, 1, 1024, dtype=np.float32)


@pytest.fixture(scope="module")
def shot() -> list[Frame]:
    return frames(6, 90, 120)


@pytest.fixture(scope="module")
def delivered(shot: list[Frame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("delivered")
    deliver(out, shot, kinds=("prores", "webm"))
    return out


def of_layer(read: list[np.ndarray], shot: list[Frame], layer: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    assert len(read) == len(shot)
    return ((pixels, frame.alpha[layer]) for pixels, frame in zip(read, shot, strict=True))


@pytest.mark.parametrize(("layer", "name"), list(enumerate(("smoke", "fire"))))
def test_prores_alpha_is_within_two_thousandths(delivered: Path, shot: list[Frame], layer: int, name: str) -> None:
    for alpha, wanted in of_layer(video_alpha(delivered / name / "shot.mov"), shot, layer):
        # 10 bits are stored: half a step, and the decoder's 12 bits once more.
        assert np.abs(alpha - wanted).max() <= 0.5 / 1023 + 1 / 4095
    for pixels, wanted in of_layer(video_rgba(delivered / name / "shot.mov"), shot, layer):
        assert np.abs(pixels[..., 3] - wanted).max() <= 0.002


def test_prores_keeps_solid_alpha_solid_and_empty_alpha_empty(delivered: Path, shot: list[Frame]) -> None:
    for alpha, wanted in of_layer(video_alpha(delivered / "smoke" / "shot.mov"), shot, 0):
        assert (alpha[wanted == 1] == 1).all() and (alpha[wanted == 0] == 0).all()


@pytest.mark.parametrize(("layer", "name"), list(enumerate(("smoke", "fire"))))
def test_vp9_alpha_is_rounded_to_8_bits_and_otherwise_exact(
    delivered: Path, shot: list[Frame], layer: int, name: str
) -> None:
    for alpha, wanted in of_layer(video_alpha(delivered / name / "shot.webm"), shot, layer):
        np.testing.assert_allclose(alpha, np.rint(wanted * 255.0) / 255.0, atol=1e-6)
        assert np.abs(alpha - wanted).mean() <= 0.002


@pytest.mark.parametrize(("kind", "worst", "mean"), [("prores", 0.02, 0.004), ("webm", None, 0.008)])
def test_colour_is_straight_and_kept_under_transparent_alpha_too(
    delivered: Path, shot: list[Frame], kind: str, worst: float | None, mean: float
) -> None:
    for pixels, frame in zip(video_rgba(delivered / "smoke" / FILES[kind]), shot, strict=True):
        error = np.abs(pixels[..., :3] - frame.display)
        # The corner of the highlights is a hard edge of colour, which any lossy codec rounds.
        inside = error[30:, 40:]
        assert inside.mean() < mean
        assert worst is None or inside.max() < worst


def test_prores_colour_has_more_than_8_bits(tmp_path: Path) -> None:
    grey = np.broadcast_to(EVEN_ALPHA[None, :, None], (16, 1024, 3)).astype(np.float32)
    ramp = [Frame(grey, grey, np.broadcast_to(EVEN_ALPHA, (1, 16, 1024)).astype(np.float32), grey[None])]
    deliver(tmp_path, ramp, kinds=("prores",), layers=("smoke",))
    with av.open(tmp_path / "smoke" / "shot.mov") as container:
        picture = next(container.decode(video=0))
    luma = np.frombuffer(picture.planes[0], np.uint16).reshape(16, -1)[:, :1024]
    # Limited range at 12 bits: 256..3760 (ITU-T H.273); within 1.5 of its 10-bit steps.
    assert np.abs(luma / 4095 - (256 + 3504 * grey[..., 0]) / 4095).max() < 1.5 / 1023
    assert len(np.unique(luma[8])) > 700  # 8 bits of limited range have 220
    (alpha,) = video_alpha(tmp_path / "smoke" / "shot.mov")
    assert len(np.unique(alpha)) == 1024


@pytest.mark.parametrize("premultiplied", [False, True])
@pytest.mark.parametrize("decontaminated", [False, True])
def test_a_prores_composite_over_a_background_is_the_analytic_one(
    tmp_path: Path, shot: list[Frame], premultiplied: bool, decontaminated: bool
) -> None:
    deliver(tmp_path, shot, kinds=("prores",), premultiplied=premultiplied, decontaminated=decontaminated)
    ground = np.array([0.1, 0.6, 0.3])
    for layer, name in enumerate(("smoke", "fire")):
        for pixels, frame in zip(video_rgba(tmp_path / name / "shot.mov"), shot, strict=True):
            colour = frame.foreground[layer] if decontaminated else frame.display
            alpha = frame.alpha[layer][..., None].astype(np.float64)
            expected = colour * alpha + ground * (1 - alpha)
            rgb, a = pixels[..., :3], pixels[..., 3:]
            over = rgb + ground * (1 - a) if premultiplied else rgb * a + ground * (1 - a)
            error = np.abs(over - expected)[30:, 40:]
            assert error.max() < 0.03 and error.mean() < 0.004


def test_webm_is_straight_whatever_the_setting(tmp_path: Path, shot: list[Frame], delivered: Path) -> None:
    deliver(tmp_path, shot, kinds=("webm",), premultiplied=True)
    straight, asked = (video_rgba(out / "fire" / "shot.webm") for out in (delivered, tmp_path))
    for one, other in zip(straight, asked, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ["prores", "webm"])
@pytest.mark.parametrize("rate", [FPS, Fraction(25), Fraction(30000, 1001), Fraction(60)])
def test_frame_count_rate_and_timecode_survive(tmp_path: Path, kind: str, rate: Fraction) -> None:
    info = ShotInfo(48, 64, rate, "10:00:59;28" if rate == Fraction(30000, 1001) else "10:00:59:23")
    deliver(tmp_path, frames(11), kinds=(kind,), layers=("smoke",), info=info)
    path = tmp_path / "smoke" / FILES[kind]
    with av.open(path) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == rate
        stamps = [packet.pts * packet.time_base for packet in container.demux(stream) if packet.size]
        assert len(stamps) == 11
        # WebM's clock has milliseconds.
        np.testing.assert_allclose(
            np.float64(stamps), np.arange(11) / float(rate), atol=0 if kind == "prores" else 6e-4
        )
        if kind == "prores":
            tracks = [track for track in container.streams if track.type == "data"]
            assert [track.metadata["timecode"] for track in tracks] == [info.timecode]
    with open_shot(path) as shot:
        assert (shot.frame_count, shot.fps, shot.timecode) == (11, rate, info.timecode)


@pytest.mark.parametrize("kind", ["prores", "webm"])
@pytest.mark.parametrize(
    ("tags", "stated"),
    [
        (ColourTags(), (1, 1, 6)),
        (ColourTags(1, 13, 1), (1, 13, 1)),
        (ColourTags(9, 16, 9), (9, 16, 9)),
        (ColourTags(6, 6, 6), (6, 6, 6)),
    ],
)
def test_colour_tags_survive_and_the_matrix_is_theirs(
    tmp_path: Path, kind: str, tags: ColourTags, stated: tuple[int, int, int]
) -> None:
    rgb = np.broadcast_to(np.float32([0.9, 0.2, 0.4]), (48, 64, 3))
    shot = [Frame(rgb, rgb, np.ones((1, 48, 64), np.float32), rgb[None])]
    deliver(tmp_path, shot, kinds=(kind,), layers=("smoke",), info=ShotInfo(48, 64, FPS, colour=tags))
    path = tmp_path / "smoke" / FILES[kind]
    with av.open(path) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.color_primaries, codec.color_trc, codec.colorspace, codec.color_range) == (*stated, 1)
        picture = next(container.decode(video=0))
        white = 2 ** picture.format.components[0].bits - 1
        luma = np.frombuffer(picture.planes[0], np.uint16 if white > 255 else np.uint8)[0] / white
    # Luma weights of ITU-T H.273, table 4.
    red, blue = {1: (0.2126, 0.0722), 9: (0.2627, 0.0593), 6: (0.299, 0.114)}[stated[2]]
    wanted = 0.9 * red + 0.2 * (1 - red - blue) + 0.4 * blue
    assert luma * white / (white + 1) * 256 == pytest.approx(16 + 219 * wanted, abs=1.0)
    with open_shot(path) as read:
        assert read.info.colour == ColourTags(*stated)
        pixels = read.read_picture(0, 1)[0, 20, 20]
        np.testing.assert_allclose(pixels, [0.9, 0.2, 0.4], atol=0.012)


def test_anamorphic_pixels_keep_their_shape(tmp_path: Path) -> None:
    deliver(tmp_path, frames(2), kinds=("prores",), info=ShotInfo(48, 64, FPS, pixel_aspect=Fraction(4, 3)))
    with av.open(tmp_path / "smoke" / "shot.mov") as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
    assert open_shot(tmp_path / "smoke" / "shot.mov").info.pixel_aspect == Fraction(4, 3)


def test_prores_states_its_colours_in_a_quicktime_atom(delivered: Path) -> None:
    data = (delivered / "smoke" / "shot.mov").read_bytes()
    place = data.index(b"colrnclc")
    codes = [int.from_bytes(data[place + 8 + 2 * i : place + 10 + 2 * i], "big") for i in range(3)]
    # QuickTime File Format, "colr": primaries, transfer, matrix; 601's below 720 lines.
    assert codes == [1, 1, 6]
    assert data.count(b"ap4h") >= 1  # ProRes 4444


@pytest.mark.parametrize(("height", "width"), [(45, 63), (17, 16)])
def test_odd_sizes_are_kept_by_prores_and_padded_by_webm(tmp_path: Path, height: int, width: int) -> None:
    shot = frames(2, height, width)
    deliver(tmp_path, shot, kinds=("prores", "webm"), layers=("smoke",))
    for alpha, frame in zip(video_alpha(tmp_path / "smoke" / "shot.mov"), shot, strict=True):
        assert np.abs(alpha - frame.alpha[0]).max() <= 0.002
    for alpha, frame in zip(video_alpha(tmp_path / "smoke" / "shot.webm"), shot, strict=True):
        assert alpha.shape == (height + height % 2, width + width % 2)
        np.testing.assert_allclose(alpha[:height, :width], frame.alpha[0], atol=0.5 / 255 + 1e-6)
        np.testing.assert_array_equal(alpha[-1, :width], alpha[height - 1, :width])
        np.testing.assert_array_equal(alpha[:height, -1], alpha[:height, width - 1])


def test_noise_at_full_strength_can_be_encoded(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    noise = [
        Frame(rgb, rgb, alpha, rgb[None])
        for rgb, alpha in ((rng.random((64, 96, 3), np.float32), rng.random((1, 64, 96), np.float32)) for _ in range(3))
    ]
    deliver(tmp_path, noise, kinds=("prores",), layers=("smoke",))
    for alpha, frame in zip(video_alpha(tmp_path / "smoke" / "shot.mov"), noise, strict=True):
        assert np.abs(alpha - frame.alpha[0]).max() <= 0.002


@pytest.mark.parametrize(("kind", "encoder"), [("prores", "prores_ks"), ("webm", "libvpx-vp9")])
def test_a_missing_encoder_is_named_before_anything_is_written(
    tmp_path: Path, shot: list[Frame], monkeypatch: pytest.MonkeyPatch, kind: str, encoder: str
) -> None:
    monkeypatch.setattr(writing_module.av, "codecs_available", av.codecs_available - {encoder})
    with pytest.raises(RuntimeError, match=rf"no encoder {encoder}: install"):
        deliver(tmp_path, shot[:1], kinds=(kind,))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
