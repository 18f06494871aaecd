"""The preview's mixing of plate and masks, in a real browser."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
from browser import browser_path, chromium_page

ROOT = Path(__file__).parents[1]
WIDTH, HEIGHT = 40, 24
COLOURS = [(230, 25, 75), (70, 240, 240)]


def packed() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A packed picture [2H,2W,3] of a plate and two masks, the plate, and the masks [2,H,W]."""
    rng = np.random.default_rng(5)
    plate = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    masks = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    masks[0, 4:20, 4:16] = 100  # below a half: no contour
    masks[1, 6:18, 20:36] = 255
    tiles = np.zeros((2 * HEIGHT, 2 * WIDTH, 3), np.uint8)
    tiles[:HEIGHT, :WIDTH] = plate
    tiles[:HEIGHT, WIDTH:] = masks[0][..., None]
    tiles[HEIGHT:, :WIDTH] = masks[1][..., None]
    return tiles, plate, masks


MIX = """async ([source, packed, described, looks]) => {
    const { mix } = await import(`data:text/javascript;base64,${source}`)
    const [width, height] = described.tile
    return looks.map((look) => {
        const out = new Uint8ClampedArray(4 * width * height)
        mix(new Uint8ClampedArray(packed), 2 * width, described, look, out)
        return Array.from(out)
    })
}"""


def mixed(looks: list[dict[str, Any]]) -> list[np.ndarray]:
    """What is seen, float [H,W,3], of each look."""
    tiles, _, _ = packed()
    rgba = np.concatenate([tiles, np.full((*tiles.shape[:2], 1), 255, np.uint8)], axis=2)
    layers = [{"name": name, "colour": "#{:02x}{:02x}{:02x}".format(*rgb)} for name, rgb in zip("ab", COLOURS)]
    described = {"tile": [WIDTH, HEIGHT], "columns": 2, "layers": layers}
    source = base64.b64encode((ROOT / "web" / "matte_view.js").read_bytes()).decode()
    with chromium_page(browser_path()) as page:
        page.goto("about:blank")
        found = page.evaluate(MIX, [source, rgba.ravel().tolist(), described, looks])
    pictures = [np.array(one).reshape(HEIGHT, WIDTH, 4) for one in found]
    assert all((picture[..., 3] == 255).all() for picture in pictures)
    return [picture[..., :3].astype(float) for picture in pictures]


def test_a_preview_shows_overlay_matte_checker_and_plate_of_the_layers_that_are_seen() -> None:
    look = {"view": "overlay", "opacity": 0.5, "hidden": [], "split": 0}
    overlay, matte, checker, plain, one, compared = mixed(
        [
            look,
            look | {"view": "matte"},
            look | {"view": "checker"},
            look | {"view": "plate"},
            look | {"hidden": ["b"], "view": "matte"},
            look | {"view": "matte", "split": 0.25},
        ]
    )
    _, plate, masks = packed()
    alpha = masks.max(axis=0)[..., None] / 255

    np.testing.assert_array_equal(plain, plate)
    np.testing.assert_array_equal(matte, np.broadcast_to(255 * alpha, plate.shape))
    np.testing.assert_array_equal(one, np.broadcast_to(masks[0][..., None], plate.shape))
    y, x = np.mgrid[:HEIGHT, :WIDTH] // 16
    ground = np.where((x + y) % 2, 128, 89)[..., None]
    np.testing.assert_allclose(checker, ground + (plate - ground) * alpha, atol=1)
    np.testing.assert_array_equal(compared[:, :10], plate[:, :10])
    np.testing.assert_array_equal(compared[:, 10:], matte[:, 10:])

    expected = plate.astype(float)
    for mask, rgb in zip(masks, COLOURS):
        expected += 0.5 * mask[..., None] / 255 * (np.array(rgb) - expected)
    for edge in (np.s_[6:18, 20], np.s_[6:18, 35], np.s_[6, 20:36], np.s_[17, 20:36]):
        expected[edge] = COLOURS[1]  # the contour of the one above a half
    np.testing.assert_allclose(overlay, expected, atol=1)
