"""Noise of a plate: where it is as strong as what the plate shows, it is taken out before edges are solved on it."""

from __future__ import annotations

import cv2
import torch
from torch import Tensor

from .decisions import smoothstep

# Noise against contrast of a plate from which it is taken out, and from which all of it is. Grain of a well exposed
# plate has less than 0.1; what was shot in the dark has 0.5 and more.
_NOISY, _VERY_NOISY = 0.2, 0.4
# From a median of absolute values to a deviation; of a sum of four values, which has twice theirs.
_OF_MEDIAN = 1.0 / (0.6745 * 2.0)
# Deviations of the filters in pixels; of the second in values, as a multiple of the noise.
_FINE, _WIDE, _SIDE, _ALIKE = 0.7, 2.0, 9, 2.0


def noise(picture: Tensor) -> tuple[float, float]:
    """Deviation of a picture's noise, and of what it shows beside that.

    The first by the median of differences of neighbours' differences along both sides (smooth colours and straight
    edges along either have none), of every fourth pixel.

    Args:
        picture: float [h,w,3].

    Returns:
        (noise, contrast), both of the picture's values, the mean over channels.
    """
    height, width = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
    if not height or not width:
        return 0.0, 0.0
    corners = [picture[y:height:4, x:width:4] for y, x in ((0, 0), (0, 1), (1, 0), (1, 1))]
    rows, columns = (min(corner.shape[side] for corner in corners) for side in (0, 1))
    first, second, third, fourth = (corner[:rows, :columns] for corner in corners)
    deviation = float((first - second - third + fourth).abs().median()) * _OF_MEDIAN
    # Channel by channel: over all of them at once it takes four times as long on the CPU.
    seen = float(torch.stack([channel.var(correction=0) for channel in picture.unbind(-1)]).mean())
    return deviation, max(seen - deviation**2, 0.0) ** 0.5


def share_of_noise(picture: Tensor) -> float:
    """Noise of a picture, float [h,w,3], as a share of its contrast."""
    deviation, contrast = noise(picture)
    return deviation / (contrast + 1e-6)


def noisiness(picture: Tensor) -> float:
    """How much of the noise of a plate, float [h,w,3], is to be taken out, 0..1."""
    return smoothstep(share_of_noise(picture), _NOISY, _VERY_NOISY)


def without_noise(picture: Tensor, share: float) -> Tensor:
    """A picture with a share of its noise taken out, by a bilateral filter (Tomasi and Manduchi 1998).

    Args:
        picture: float32 [h,w,3].
        share: 0..1.

    Returns:
        float32 [h,w,3]; the picture itself where there is nothing to be taken out.
    """
    deviation = noise(picture)[0] if share > 0.0 else 0.0
    if deviation == 0.0:
        return picture
    fine = cv2.GaussianBlur(picture.cpu().numpy(), (0, 0), _FINE)  # else every speck is an edge of its own
    quiet = torch.from_numpy(cv2.bilateralFilter(fine, _SIDE, _ALIKE * deviation, _WIDE)).to(picture.device)
    return torch.lerp(picture, quiet, share)
