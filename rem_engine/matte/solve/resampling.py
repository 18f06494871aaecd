"""Between the sizes of cells, of the grid that is solved on, and of the plate: by OpenCV on the CPU, else by torch.

Pictures are float32 [h,w,c], planes float32 [n,h,w].
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]


def size_of(picture: Tensor) -> Size:
    """(height, width) of a picture [h,w,c]."""
    return picture.shape[0], picture.shape[1]


def on_cpu(values: Tensor) -> bool:
    """Whether values are at hand for OpenCV."""
    return values.device.type == "cpu"


def averaged(picture: Tensor, size: Size) -> Tensor:
    """A picture at a smaller size: the mean of what lies under each pixel, by area."""
    if on_cpu(picture):
        return torch.from_numpy(cv2.resize(picture.numpy(), size[::-1], interpolation=cv2.INTER_AREA))
    rows, columns = (_areas(*lengths).to(picture) for lengths in zip(size, picture.shape[:2]))
    return torch.einsum("yh,hwc,xw->yxc", rows, picture, columns)


def means(planes: Tensor, size: Size) -> Tensor:
    """The mean of planes over each of (rows, columns) equal parts of theirs, of which a pixel may hold several."""
    if on_cpu(planes):
        return _by_opencv(planes, size, cv2.INTER_AREA)
    rows, columns = (_areas(*lengths).to(planes) for lengths in zip(size, planes.shape[1:]))
    return rows @ planes @ columns.T


def cubic(planes: Tensor, size: Size) -> Tensor:
    """Planes scaled up, bicubic, in 0..1."""
    return _scaled(planes, size, cv2.INTER_CUBIC, "bicubic").clamp_(0.0, 1.0)


def linear(planes: Tensor, size: Size) -> Tensor:
    """Planes scaled up, bilinear."""
    return _scaled(planes, size, cv2.INTER_LINEAR, "bilinear")


def spread(cells: Tensor, step: Size) -> Tensor:
    """Values of cells [n,h,w] at each pixel of theirs, [n,h*rows,w*columns]; not to be written to."""
    count, height, width = cells.shape
    repeated = cells[:, :, None, :, None].expand(count, height, step[0], width, step[1])
    return repeated.reshape(count, height * step[0], width * step[1])


def gathered(planes: Tensor, step: Size) -> Tensor:
    """The mean of planes over each cell of (rows, columns) pixels."""
    rows, columns = step
    # Added one after the other: sums along short sides take ten times as long on the CPU.
    lines = planes[:, ::rows].clone()
    for row in range(1, rows):
        lines += planes[:, row::rows]
    cells = lines[:, :, ::columns].clone()
    for column in range(1, columns):
        cells += lines[:, :, column::columns]
    return cells.div_(rows * columns)


def _scaled(planes: Tensor, size: Size, by_opencv: int, by_torch: str) -> Tensor:
    if on_cpu(planes):
        return _by_opencv(planes, size, by_opencv)
    return F.interpolate(planes[:, None], size, mode=by_torch, align_corners=False)[:, 0]


def _by_opencv(planes: Tensor, size: Size, way: int) -> Tensor:
    scaled = planes.new_empty(len(planes), *size)  # of the planes' type, or OpenCV would write elsewhere
    for plane, place in zip(planes.numpy(), scaled.numpy(), strict=True):
        cv2.resize(plane, size[::-1], dst=place, interpolation=way)
    return scaled


@lru_cache(maxsize=8)
def _areas(count: int, length: int) -> Tensor:
    """Weights [count,length] of the mean over equal parts of a length."""
    edges = torch.linspace(0.0, length, count + 1, dtype=torch.float64)
    pixel = torch.arange(length, dtype=torch.float64)
    overlap = torch.minimum(edges[1:, None], pixel + 1.0) - torch.maximum(edges[:-1, None], pixel)
    return (overlap.clamp(min=0.0) * count / length).float()
