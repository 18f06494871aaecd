"""What the scripts of this folder do with nodes: run them, count their calls, compare what they give."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def segment(
    nodes: dict[str, Any],
    model: Any,
    vae: Any,
    conditioning: Any,
    image: Any,
    protocol: str = "shot",
    size: tuple[int, int] = (64, 64),
    window: int = 5,
    prompt: int = 1,
    **optional: Any,
) -> Any:
    """SegmentVideo's soft mask."""
    overlap = 2 if protocol == "shot" else 0
    return (
        nodes["SegmentVideo"]
        .execute(
            model,
            vae,
            conditioning,
            image,
            prompt,
            0.5,
            protocol=protocol,
            height=size[0],
            width=size[1],
            window=window,
            overlap=overlap,
            **optional,
        )  # fmt: skip
        .args[0]
    )


def encode(nodes: dict[str, Any], clip: Any, text: str) -> Any:
    return nodes["EncodeText"].execute(clip, text).args[0]


def random(*shape: int) -> Any:
    import torch

    return torch.rand(*shape, generator=torch.Generator().manual_seed(7))


def difference(a: Any, b: Any) -> float:
    return (a - b).abs().max().item()


@contextmanager
def counted(target: Any, method: str) -> Iterator[list[Any]]:
    """The first arguments of every call of a method, while it is asked for."""
    calls, call = [], getattr(target, method)

    def counting(*args: Any, **kwargs: Any) -> Any:
        calls.append(args[0])
        return call(*args, **kwargs)

    setattr(target, method, counting)
    try:
        yield calls
    finally:
        delattr(target, method)


@contextmanager
def counted_class(target: type, method: str) -> Iterator[list[Any]]:
    """What every call of a class's method returned, while it is asked for."""
    outputs, call = [], getattr(target, method)

    def recording(self: Any, *args: Any) -> Any:
        outputs.append(call(self, *args))
        return outputs[-1]

    setattr(target, method, recording)
    try:
        yield outputs
    finally:
        setattr(target, method, call)


def golden_frames(golden: Path, count: int) -> Any:
    import numpy as np
    import torch
    from PIL import Image

    files = sorted((golden / "clip" / "frames").glob("*.png"))[:count]
    return torch.from_numpy(np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])).float() / 255.0
