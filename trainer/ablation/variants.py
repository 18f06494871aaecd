"""What is compared: REM, and REM with one thing changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Variant:
    """A line of the table.

    Attributes:
        title: what it is, in the table.
        overrides: settings in place of the preset's, by dotted name.
    """

    title: str
    overrides: Mapping[str, Any] = field(default_factory=dict)


VARIANTS: Mapping[str, Variant] = {
    "rem": Variant("REM: latent supervision, frozen VAE"),
    "rgb": Variant("RGB supervision, frozen VAE", {"objective.supervision": "rgb"}),
    "rgb_tuned": Variant(
        "RGB supervision, fine-tuned VAE decoder",
        {"objective.supervision": "rgb", "objective.decoder": "vae_tuned"},
    ),
    "cnn": Variant("CNN head", {"objective.supervision": "rgb", "objective.decoder": "cnn"}),
    "mlp": Variant("MLP head", {"objective.supervision": "rgb", "objective.decoder": "mlp"}),
    "features": Variant(
        "frozen denoiser, features of block 3, CNN head (the VD-IT way)",
        {"objective.supervision": "rgb", "objective.decoder": "cnn", "objective.features": 3},
    ),
    # random embedders must learn too
    "scratch": Variant("from scratch", {"objective.init": "scratch", "frozen": []}),
    "timestep": Variant("timestep 500", {"objective.timestep": 500}),
    "flow": Variant("FlowRVS's choice: video flows into the mask, timestep 1000", {"objective.output": "velocity"}),
}
"""The lines by the name that `--variants` takes."""
