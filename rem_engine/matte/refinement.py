"""Bringing the edge of an upscaled mask to the edge in the plate."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ..setting import check_values
from .boxes import bounding_box
from .checks import check_plate
from .settings import MatteSettings
from .symmetric import PAIRS, solved

# How much more a pixel says of the colour of either side the surer the mask is of it: mask ** 4, (1 - mask) ** 4.
# Without it the half-transparent ramp of an upscaled mask mixes the two colours, and the edge stays as wide as it was.
_SURENESS = 4
# Share of the mask's variation that the plate must explain before it is followed, and from which on it is wholly.
# Rendered smoke, fire, sparks and ripples, whose opacity is not all in their colour, come out no worse with these;
# lower ones bend them to the plate.
_EXPLAINS, _EXPLAINS_WELL = 0.7, 0.95
# Mask values this close to 0 or 1 are sure and stay, at full strength from mask * (1 - mask) = 1/16 on.
_UNSURE = 16.0


def refine(mask: Tensor, plate: Tensor, radius: int, detail: float = 0.03) -> Tensor:
    """Bring a mask's edges to those of the plate, where the plate shows one.

    The local linear model of the guided filter (He, Sun and Tang 2013): within a window alpha is a linear function of
    colour, and the windows over a pixel are averaged; its coefficients are found at a quarter of the resolution (He and
    Sun 2015, the fast guided filter). But where the guided filter regresses the mask on the plate, which keeps the mean
    of either side and so spreads a ramp instead of narrowing it, the line here goes through two points: the mean colour
    of what the mask is surest of inside, and outside, along Fisher's discriminant. So an edge that was blurred by
    upscaling becomes as sharp as the plate's.

    A pixel changes only as far as the mask is unsure of it (it is neither 0 nor 1) and the plate explains the mask
    around it; over a flat plate, over texture that has nothing to do with the mask, and in the body of smoke, the mask
    stays.

    Args:
        mask: [..., H, W] in 0..1.
        plate: [H, W, 3], display-referred, 0..1, on the mask's device.
        radius: pixels, about the width of the mask's ramp; 0 leaves the mask as it is. A mask upscaled by 8 has ramps
            of 8 to 16 pixels.
        detail: contrast in display values below which the plate shows grain and no edge.

    Returns:
        [..., H, W] in 0..1.

    Raises:
        ValueError: `radius` is negative, `detail` is not positive, or the plate is of another size.
    """
    check_values(MatteSettings, refine=radius, refine_detail=detail)
    check_plate(mask, plate)
    if radius == 0:
        return mask
    layers = mask.reshape(-1, *mask.shape[-2:])
    return torch.stack([_refined(layer, plate, radius, detail) for layer in layers]).reshape(mask.shape)


def _refined(mask: Tensor, plate: Tensor, radius: int, detail: float) -> Tensor:
    """One mask [H,W]."""
    step = _step(radius)
    cells = max(1, round(radius / step))
    # Two windows and a cell: nothing further away has a say, so that the result does not depend on the box.
    box = bounding_box((mask > 0.0) & (mask < 1.0), step * (2 * cells + 1), step)
    if box is None:
        return mask
    refined, mask, plate = mask.clone(), mask[box], plate[box]
    height, width = mask.shape
    padding = (0, -width % step, 0, -height % step)
    colour = F.pad(rearrange(plate, "h w c -> 1 c h w").to(mask.dtype), padding, mode="replicate")
    coarse = F.avg_pool2d(torch.cat([colour[0], F.pad(mask[None, None], padding, mode="replicate")[0]]), step)
    model = _linear_model(coarse[3], coarse[:3], cells, detail)
    model = F.interpolate(model[None], scale_factor=step, mode="bilinear", align_corners=False)[0]
    found = (model[:3] * colour[0]).sum(0).add_(model[3]).clamp_(0.0, 1.0)[:height, :width]
    unsure = (_UNSURE * mask * (1.0 - mask)).clamp_(0.0, 1.0)
    moved = torch.addcmul(mask, unsure.mul_(model[4, :height, :width]), found.sub_(mask))
    refined[box] = moved.clamp_(0.0, 1.0)
    return refined


def _step(radius: int) -> int:
    """Pixels along a cell of the coarse grid: a window keeps five cells or more."""
    return 4 if radius >= 8 else 2 if radius >= 4 else 1


def _linear_model(mask: Tensor, plate: Tensor, radius: int, detail: float) -> Tensor:
    """Mask [h,w], plate [3,h,w] -> [5,h,w]: slopes of red, green and blue, offset, and trust in them, 0..1."""
    inside, outside = mask.pow(_SURENESS).add_(1e-6), (1.0 - mask).pow_(_SURENESS).add_(1e-6)
    both = inside + outside
    products = torch.stack([plate[i] * plate[j] for i, j in PAIRS])
    sums = _box_mean(
        torch.cat([
            torch.stack([inside, inside * mask]), inside * plate,
            torch.stack([outside, outside * mask]), outside * plate,
            both * products,
        ]),
        radius,
    )  # fmt: skip
    inside, outside = sums[0], sums[5]
    inner_mask, inner = sums[1] / inside, sums[2:5] / inside
    outer_mask, outer = sums[6] / outside, sums[7:10] / outside
    both = inside + outside
    mean = (inner * inside + outer * outside) / both
    covariance = sums[10:] / both - torch.stack([mean[i] * mean[j] for i, j in PAIRS])
    across = inner - outer
    direction = torch.stack(solved(covariance, across, detail**2))
    distance = (direction * across).sum(0)
    balance = inside * outside / both**2
    explained = (balance * distance).clamp_(0.0, 1.0)
    contrast = inner_mask - outer_mask
    slopes = direction * (contrast / distance.clamp(min=1e-6))
    offset = outer_mask - (slopes * outer).sum(0)
    # A window counts by how much of an edge it sees, and by how much of that the plate explains.
    seen = balance * contrast**2
    weight = seen * explained + 1e-10
    averaged = _box_mean(torch.cat([weight * slopes, torch.stack([weight * offset, weight, seen])]), radius)
    share = averaged[4] / (averaged[5] + 1e-6)
    trust = ((share - _EXPLAINS) / (_EXPLAINS_WELL - _EXPLAINS)).clamp_(0.0, 1.0)
    trust = trust * trust * (3.0 - 2.0 * trust)
    return torch.cat([averaged[:4] / averaged[4], trust[None]])


def _box_mean(planes: Tensor, radius: int) -> Tensor:
    """Mean over the window of `radius` around every pixel, of planes [n,h,w]; a window ends at the frame's border."""
    return _mean_along(_mean_along(planes, radius, -1), radius, -2)


def _mean_along(planes: Tensor, radius: int, dim: int) -> Tensor:
    # Shifted sums: on the CPU eight times as fast as average pooling, and without the rounding of running sums.
    size = planes.shape[dim]
    sums = planes.clone()
    for shift in range(1, min(radius, size - 1) + 1):
        left = size - shift
        sums.narrow(dim, 0, left).add_(planes.narrow(dim, shift, left))
        sums.narrow(dim, shift, left).add_(planes.narrow(dim, 0, left))
    place = torch.arange(size, device=planes.device)
    count = (place + radius).clamp(max=size - 1) - (place - radius).clamp(min=0) + 1
    return sums.div_(count if dim == -1 else count[:, None])
