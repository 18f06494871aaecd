"""Draws pictures of the documents beside this file; `make docs` runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import escape

from rem_engine.segment.windows import Window, paper_windows, shot_windows

VIDEO, MASK, TEXT, MODEL, GREY, INK, QUIET = "#7fa8d9", "#e8926a", "#8cbf88", "#f3eed9", "#d9d9d9", "#222", "#666"


class Picture:
    """An SVG on a white ground; lengths are pixels, `y` grows downwards."""

    def __init__(self, width: int, height: int) -> None:
        self._size = (width, height)
        self._parts = [
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            f'<path d="M0 0 8 4 0 8z" fill="{INK}"/></marker></defs>',
            f'<rect width="{width}" height="{height}" rx="8" fill="#fff"/>',
        ]

    def text(self, x: float, y: float, *lines: str, size: int = 13, anchor: str = "middle", fill: str = INK) -> None:
        for number, line in enumerate(lines):
            self._parts.append(
                f'<text x="{x:g}" y="{y + number * size * 1.3:g}" font-size="{size}" text-anchor="{anchor}" '
                f'fill="{fill}">{escape(line)}</text>'
            )

    def rect(self, x: float, y: float, width: float, height: float, fill: str, stroke: str = INK) -> None:
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="2" fill="{fill}" stroke="{stroke}"/>'
        )

    def polygon(self, points: str, fill: str) -> None:
        self._parts.append(f'<polygon points="{points}" fill="{fill}" stroke="{INK}"/>')

    def arrow(self, *points: tuple[float, float]) -> None:
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self._parts.append(
            f'<polyline points="{path}" fill="none" stroke="{INK}" stroke-width="1.5" marker-end="url(#tip)"/>'
        )

    def box(self, x: float, y: float, width: float, height: float, *lines: str, fill: str = MODEL) -> None:
        """A named part of a model, its name in the middle."""
        self.rect(x, y, width, height, fill)
        self.text(x + width / 2, y + height / 2 + 5 - (len(lines) - 1) * 8.5, *lines)

    def stack(self, x: float, y: float, side: float, count: int, fill: str, step: float = 6) -> None:
        """Frames one behind the other; (x, y) is the front one's corner."""
        for number in reversed(range(count)):
            self.rect(x + number * step, y - number * step, side, side, fill)

    def svg(self) -> str:
        width, height = self._size
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            'font-family="system-ui, Helvetica, Arial, sans-serif">\n' + "\n".join(self._parts) + "\n</svg>\n"
        )


def method() -> Picture:
    """What REM changes of a text-to-video model."""
    picture = Picture(860, 330)
    rows = (
        (90, "text-to-video", "noisy latents", GREY, "t = 999 … 0", "many steps", "the noise in them", GREY),
        (250, "REM", "the video's latents, clean", VIDEO, "t = 0", "one pass", "the mask's latents", MASK),
    )
    for y, name, given, given_fill, time, steps, target, target_fill in rows:
        picture.text(20, y + 5, name, size=16, anchor="start")
        picture.stack(190, y - 15, 40, 4, given_fill)
        picture.text(219, y + 48, given, size=12, fill=QUIET)
        picture.box(385, y - 40, 150, 80, "denoiser", "(the whole of it)")
        picture.text(460, y - 62, "a sentence", size=12, fill=QUIET)
        picture.arrow((460, y - 57), (460, y - 42))
        picture.text(460, y + 60, f"{time}, {steps}", size=12, fill=QUIET)
        picture.arrow((262, y), (383, y))
        picture.arrow((536, y), (632, y))
        picture.stack(640, y - 15, 40, 4, target_fill)
        picture.text(669, y + 48, target, size=12, fill=QUIET)
    picture.arrow((712, 250), (760, 250))
    picture.box(762, 225, 84, 50, "VAE", "decoder")
    picture.arrow((804, 276), (804, 300))
    picture.text(804, 318, "the mask", size=12, fill=QUIET)
    return picture


def shapes() -> Picture:
    """The walk of the data, with the shape of every tensor."""
    picture = Picture(900, 600)

    def tensor(x: float, y: float, side: float, count: int, fill: str, *lines: str) -> None:
        picture.stack(x, y, side, count, fill)
        picture.text(x + (side + 6 * count) / 2, y + side + 18, *lines, size=12)

    picture.text(
        20, 30, "for Wan2.1-14B: T = 73 frames, h x w = 512 x 512, P prompts", size=13, anchor="start", fill=QUIET
    )
    tensor(30, 110, 100, 5, VIDEO, "frames [T, H, W, 3]", "the shot's own size")
    picture.text(217, 118, "resize,", "-1..1", size=12, fill=QUIET)
    picture.arrow((175, 145), (260, 145))
    tensor(275, 120, 60, 5, VIDEO, "[T, 3, h, w]", "73 x 3 x 512 x 512")
    picture.arrow((372, 145), (425, 145))
    picture.box(427, 115, 100, 60, "VAE", "encoder")
    picture.arrow((528, 145), (580, 145))
    tensor(595, 130, 34, 3, VIDEO, "latents", "[1, 16, t, h/8, w/8]", "1 x 16 x 19 x 64 x 64")
    picture.arrow((653, 145), (805, 145), (805, 268))

    picture.text(85, 287, "the smoke </s>", size=12, fill=QUIET)
    picture.rect(30, 295, 110, 16, TEXT)
    picture.rect(30, 311, 110, 44, GREY)
    picture.text(85, 375, "text [P, 77, 4096]", "a row a token, then zeros", size=12)
    picture.text(155, 312, "UMT5 gives the rows", size=12, fill=QUIET, anchor="start")
    picture.arrow((141, 320), (728, 320))
    picture.box(730, 270, 150, 100, "denoiser, t = 0", "t h/16 w/16 tokens", "19 x 32 x 32 = 19456")

    picture.arrow((805, 371), (805, 480), (735, 480))
    tensor(680, 465, 34, 3, MASK, "mask latents", "[P, 16, t, h/8, w/8]")
    picture.arrow((675, 480), (605, 480))
    picture.box(503, 450, 100, 60, "VAE", "decoder")
    picture.arrow((502, 480), (472, 480))
    tensor(375, 455, 60, 5, MASK, "[P, T, 3, h, w]", "a mask lies in 0..1")
    picture.text(267, 450, "resize,", "mean of channels", size=12, fill=QUIET)
    picture.arrow((370, 480), (175, 480))
    tensor(30, 450, 100, 5, MASK, "soft [P, T, H, W]", "mask = soft > 0.5")
    return picture


def latent_frames() -> Picture:
    """Which frames of a video share a latent frame."""
    picture = Picture(760, 190)
    picture.text(20, 45, "17 frames", anchor="start")
    picture.text(20, 145, "5 latent frames", anchor="start")
    for frame in range(17):
        x = 140 + frame * 35
        picture.rect(x, 25, 28, 28, VIDEO)
        picture.text(x + 14, 44, str(frame), size=11)
    for latent in range(5):
        first, last = (0, 0) if latent == 0 else (4 * latent - 3, 4 * latent)
        left, right = 140 + first * 35, 140 + last * 35 + 28
        middle = (left + right) / 2
        picture.polygon(f"{left},58 {right},58 {middle + 14},120 {middle - 14},120", MODEL)
        picture.rect(middle - 14, 125, 28, 28, VIDEO)
        picture.text(middle, 144, str(latent), size=11)
    picture.text(
        440, 178, "the first frame alone, then four at a time: T = 4k + 1 frames become k + 1", size=12, fill=QUIET
    )
    return picture


def windows() -> Picture:
    """How the two protocols cut a shot of 22 frames into windows of 9."""
    picture = Picture(760, 300)

    def draw(top: float, name: str, spans: list[Window]) -> None:
        picture.text(20, top + 17, name, size=15, anchor="start")
        for row, window in enumerate(spans):
            y = top + row * 29
            for frame in range(window.start, window.stop):
                given_away = spans[row + 1].weight(frame) if window is not spans[-1] else 0.0
                share = min(window.weight(frame), 1.0 - given_away)
                picture.rect(110 + frame * 28, y + 24 * (1 - share), 28, 24 * share, MASK, "none")
            picture.rect(110 + window.start * 28, y, (window.stop - window.start) * 28, 24, "none")

    for frame in range(22):
        picture.text(124 + frame * 28, 22, str(frame), size=11, fill=QUIET)
    draw(40, "paper", paper_windows(22, (9,), pad_frame_count=lambda count: count))
    draw(150, "shot", list(shot_windows(22, 9, 4, pad_frame_count=lambda count: count)))
    picture.text(
        20, 288, "filled: a window's share in the mask of each frame it sees", size=12, anchor="start", fill=QUIET
    )
    return picture


def farm() -> Picture:
    """Windows of a shot of 24 frames with a cut at frame 15, each made by the part in which it begins to give masks."""
    picture, parts, cut = Picture(760, 330), (range(0, 8), range(8, 15), range(15, 24)), 15
    colours = (VIDEO, TEXT, MASK)
    for number, (part, colour) in enumerate(zip(parts, colours), start=1):
        picture.rect(40 + part.start * 28, 40, len(part) * 28, 24, colour)
        told = f"part {number}: --part {part[0] + 1001}-{part[-1] + 1001}"
        picture.text(40 + (part.start + part.stop) * 14, 57, told)
    picture.text(40 + cut * 28, 28, "cut", size=12, fill=QUIET)

    def end_of_take(start: int, limit: int) -> int:
        return cut if start < cut < limit else limit

    spans = [*shot_windows(24, 9, 4, lambda count: count, end_of_take)]
    for row, window in enumerate(spans):
        (colour,) = [colour for part, colour in zip(parts, colours) if window.keep in part]
        y = 80 + row * 29
        picture.rect(40 + window.start * 28, y, (window.stop - window.start) * 28, 24, GREY)
        picture.rect(40 + window.keep * 28, y, (window.stop - window.keep) * 28, 24, colour)
    bottom = 92 + len(spans) * 29
    picture.arrow((376, bottom), (376, bottom + 28))
    picture.box(40, bottom + 30, 672, 34, "the plain command: windows joined and cross-faded, mattes, files")
    picture.text(40, 318, "grey: context of a window, of which it gives no masks", size=12, anchor="start", fill=QUIET)
    return picture


def batch() -> Picture:
    """An edit of three clips, and what of each source is segmented."""
    picture = Picture(760, 250)
    picture.text(20, 47, "the edit", anchor="start")
    picture.text(20, 127, "sources", anchor="start")
    picture.text(20, 217, "folders", anchor="start")
    x = 110
    for name, colour, used, source in (
        ("sh010", VIDEO, (60, 100), 190),
        ("sh020", TEXT, (24, 80), 150),
        ("sh030", MASK, (0, 110), 200),
    ):
        start, length = used
        handles = (max(start - 24, 0), min(start + length + 24, source - 10))
        picture.rect(x + start, 30, length, 28, colour)
        picture.text(x + start + length / 2, 49, name)
        picture.rect(x, 108, source - 10, 28, "#fff")
        picture.rect(x + handles[0], 108, handles[1] - handles[0], 28, GREY)
        picture.rect(x + start, 108, length, 28, colour)
        picture.arrow((x + start + length / 2, 60), (x + start + length / 2, 106))
        picture.arrow((x + start + length / 2, 138), (x + start + length / 2, 192))
        picture.box(x + start + length / 2 - 45, 196, 90, 34, f"out/{name}")
        x += source + 30
    picture.text(110, 160, "grey: --handles", size=12, anchor="start", fill=QUIET)
    return picture


PICTURES: dict[str, Callable[[], Picture]] = {
    "method": method,
    "shapes": shapes,
    "latent-frames": latent_frames,
    "windows": windows,
    "farm": farm,
    "batch": batch,
}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        Path(__file__).with_name(f"{name}.svg").write_text(draw().svg(), "utf-8")
