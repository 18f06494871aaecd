"""Short clips made of still images."""

from __future__ import annotations

import cv2
import numpy as np

from .sample import Sample, Source, Wrapping

# All from REM's released code (its refexp2seq dataset), which takes the augmentation from ReferFormer and applies it
# with imgaug; what a number means there is said where it is used.
PERSPECTIVE = 0.08
ROTATION = 20.0
TRANSLATION = 0.1
HUE_SATURATION = 5
BRIGHTNESS = 40
BLUR_PROBABILITY = 0.25
BLUR_KERNELS = (9, 11)


class PseudoVideo(Wrapping):
    """A source whose clips are an image and transformed copies of it, in random order.

    Every copy is transformed on its own, image and mask together: colours, then perspective, rotation and translation,
    then motion blur (of the image alone). Images are sampled bilinearly, masks by the nearest pixel. What comes in from
    outside the picture is black and no part of the mask.

    Args:
        source: of still images.
    """

    def __init__(self, source: Source[Sample]) -> None:
        super().__init__(source)
        self.name = f"pseudo-video of {source.name}"

    def is_fixed(self, frames: int) -> bool:
        return frames == 1 and self._source.is_fixed(1)

    def read(self, index: int, frames: int, rng: np.random.Generator) -> Sample:
        still = self._source.read(index, 1, rng)
        clip = [(still.frames[0], still.masks[0])]
        clip += [transformed(still.frames[0], still.masks[0], rng) for _ in range(frames - 1)]
        order = rng.permutation(frames)
        return Sample(np.stack([clip[i][0] for i in order]), np.stack([clip[i][1] for i in order]), still.text)


def transformed(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A randomly transformed copy of an image and its mask.

    Args:
        image: uint8 [H,W,3], RGB.
        mask: bool [H,W].
        rng: source of chance.

    Returns:
        uint8 [H,W,3] and bool [H,W].
    """
    image = recoloured(image, rng)
    height, width = mask.shape
    quadrilateral, turn = perspective(height, width, rng), rotation_and_translation(height, width, rng)

    def moved(picture: np.ndarray, sampling: int) -> np.ndarray:
        picture = cv2.warpPerspective(picture, quadrilateral, (width, height), flags=sampling)
        return cv2.warpAffine(picture, turn, (width, height), flags=sampling)

    # imgaug takes the nearest pixel for segmentation maps, whatever it takes for images
    image, mask = moved(image, cv2.INTER_LINEAR), moved(mask.astype(np.uint8), cv2.INTER_NEAREST) > 0
    if rng.random() < BLUR_PROBABILITY:
        image = cv2.filter2D(image, -1, motion_blur_kernel(int(rng.choice(BLUR_KERNELS)), rng))
    return image, mask


def recoloured(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness or hue and saturation changed, or, every other time, both: uint8 [H,W,3].

    Brightness adds one number to all channels. Hue and saturation take the same number v: v / 255 of a half turn of hue
    and v of 255 of saturation.
    """
    both, brightness = rng.random() < 0.5, rng.random() < 0.5
    if both or brightness:
        image = _shifted(image, int(rng.integers(-BRIGHTNESS, BRIGHTNESS + 1)))
    if both or not brightness:
        value = int(rng.integers(-HUE_SATURATION, HUE_SATURATION + 1))
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        # OpenCV counts hue in steps of two degrees, 0..179
        hsv[..., 0] = (hsv[..., 0].astype(np.int16) + int(value / 255 * 180)) % 180
        hsv[..., 1] = _shifted(hsv[..., 1], value)
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return image


def perspective(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A 3x3 transform that spreads a quadrilateral inside the picture over all of it.

    Its corners lie inwards of the picture's by shares of its sides, each the magnitude of a normal number of deviation
    0.08, and less than a half.
    """
    inwards = np.abs(rng.normal(0.0, PERSPECTIVE, (4, 2))) % 0.5
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64)
    inside = corners + inwards * (1 - 2 * corners)
    # Pixel centres lie at whole numbers for OpenCV, edges half a pixel outside.
    side = np.array([width, height])
    return cv2.getPerspectiveTransform(
        (inside * side - 0.5).astype(np.float32), (corners * side - 0.5).astype(np.float32)
    )


def rotation_and_translation(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A 2x3 transform: a turn about the centre by up to 20 degrees, then a shift by up to a tenth of the picture.

    Both sides are shifted by the same share of their lengths, as the authors' settings have it.
    """
    middle, angle = ((width - 1) / 2, (height - 1) / 2), rng.uniform(-ROTATION, ROTATION)
    matrix: np.ndarray = cv2.getRotationMatrix2D(middle, angle, 1.0)
    matrix[:, 2] += rng.uniform(-TRANSLATION, TRANSLATION) * np.array([width, height])
    return matrix


def motion_blur_kernel(size: int, rng: np.random.Generator) -> np.ndarray:
    """float32 [size,size], of sum 1: a line in a random direction, brighter to one of its ends."""
    direction = (rng.uniform(-1.0, 1.0) + 1) / 2
    kernel: np.ndarray = np.zeros((size, size), np.float32)
    kernel[:, size // 2] = np.linspace(direction, 1 - direction, size)
    turn = cv2.getRotationMatrix2D((size // 2, size // 2), rng.uniform(0.0, 360.0), 1.0)
    kernel = cv2.warpAffine(kernel, turn, (size, size))
    return kernel / kernel.sum()


def _shifted(values: np.ndarray, by: int) -> np.ndarray:
    return np.clip(values.astype(np.int16) + by, 0, 255).astype(np.uint8)
