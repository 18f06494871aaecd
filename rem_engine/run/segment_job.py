"""What is asked of a shot, where it comes from, and what is written of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ..frames import ReopenableFrames
from ..layers import Layer, combined_layers, layer_prompt
from ..matte import MatteSettings
from ..matte.layer_settings import derived_layers, told_by_layer, with_derived
from ..media.made_by import MadeBy
from ..media.numbering import Numbering
from ..media.plate_settings import PlateSettings
from ..media.shot import ShotInfo
from ..segment.settings import MaskSettings
from .account import file_sets
from .delivery_settings import DeliverySettings
from .given_mattes import GivenMattes
from .layout import DELIVERIES
from .output import Claim
from .pipeline import numbering_of, stage_settings


@dataclass(frozen=True)
class Provenance:
    """Where a run comes from: what its run.json says of it, and whether it can be gone on with.

    Attributes:
        source: path of the shot.
        fingerprint: equal for runs that give equal files; None for a run that is not to be gone on with.
        plate: hash of what the shot's files hold, where `fingerprint` goes by their sizes and times.
        entries: further entries of run.json.
        load_seconds: what loading the model took.
        model, checkpoint: their names, for what delivered files say; "" for the model's is that of the backbone.
        graph: the graph of a host, for what they say; see `MadeBy`.
    """

    source: str = ""
    fingerprint: str | None = None
    plate: str = ""
    entries: Mapping[str, Any] = field(default_factory=dict)
    load_seconds: float = 0.0
    model: str = ""
    checkpoint: str = ""
    graph: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SegmentJob:
    """What is asked of a shot, and what is written of it.

    Attributes:
        out: the folder to write to; `layout.FILES` says what it then holds.
        layers: what is asked for, from `parse_layers`.
        name: with what the names of files begin, or a template of them that was filled (`run.naming`); "" is the shot's
            own, or "shot".
        fields: values of the template's fields, by which `segment_file` fills it.
        write: any of masks, soft, npz, overlay (the masks as the model gives them, combined) and of
            `layout.DELIVERIES` (mattes).
        masks: how they are made; layers combined as "exclusive" also have their id map written.
        matte: what the matte stage does on the way to deliveries.
        delivery: form of the deliveries; their kinds are those of `write`.
        device: where the matte stage computes.
        info: what deliveries take over from the shot; None for what it says itself.
        overwrite: whether files in `out` that no run has written may be replaced.
        again: whether to begin anew where the same run is there, whole or in part.
        provenance: for run.json, and for a run that can be gone on with.
        plate: how `segment_file` reads the shot.
        hints: mattes that bound the layers (`include`, `hold_out`), so that masks are 0 outside, and that mattes are at
            least (`add`); None for none.
    """

    out: Path
    layers: tuple[Layer, ...]
    name: str = ""
    write: tuple[str, ...] = ("masks", "soft", "overlay")
    masks: MaskSettings = field(default_factory=MaskSettings)
    matte: MatteSettings = field(default_factory=MatteSettings)
    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    device: str | torch.device = "cpu"
    info: ShotInfo | None = None
    overwrite: bool = False
    again: bool = False
    provenance: Provenance = field(default_factory=Provenance)
    plate: PlateSettings = field(default_factory=PlateSettings)
    hints: GivenMattes | None = None
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def deliveries(self) -> tuple[str, ...]:
        """What is written of mattes."""
        return tuple(kind for kind in DELIVERIES if kind in self.write)

    @property
    def form(self) -> DeliverySettings:
        """Form of these."""
        return replace(self.delivery, kinds=self.deliveries)

    @property
    def kinds(self) -> tuple[str, ...]:
        """All that is written."""
        return (*self.write, "ids") if self.masks.combine == "exclusive" else self.write

    @property
    def written_layers(self) -> tuple[Layer, ...]:
        """The layers that there are masks of, once they were combined."""
        return combined_layers(self.layers, self.masks.combine)

    @property
    def mattes(self) -> tuple[MatteSettings, ...]:
        """Settings of the matte stage of each of these: those of all, and over them the layer's own.

        Raises:
            ValueError: a layer sets what there is not, or what cannot be.
        """
        return stage_settings(self.matte, self.written_layers, self.form)

    @property
    def derived(self) -> tuple[str, ...]:
        """Names of the core and edge mattes of these."""
        return derived_layers([layer.name for layer in self.written_layers], self.mattes)

    @property
    def told_mattes(self) -> dict[str, dict[str, Any]]:
        """Settings of the matte stage of each layer, as files and run.json tell them."""
        return told_by_layer([layer.name for layer in self.written_layers], self.mattes)

    def numbering(self, shot: ReopenableFrames) -> Numbering:
        """Names and numbers of frames as they are delivered."""
        form = self.delivery
        return numbering_of(shot).delivered(name=self.name, start=form.start, digits=form.padding)

    def made_by(self, model: str) -> MadeBy:
        """What its files say of how they were made, by a model of such a name."""
        return MadeBy(
            self.provenance.model or model,
            self.provenance.checkpoint,
            {layer.name: layer_prompt(layer) for layer in self.written_layers},
            self.told_mattes,
            self._told_given(),
            self.provenance.graph,
        )

    def _told_given(self) -> dict[str, dict[str, list[str]]]:
        """Names of the mattes that each layer is given, core and edge mattes as theirs."""
        if self.hints is None:
            return {}
        written, united = self.written_layers, len(self.written_layers) < len(self.layers)
        of_each = [self.hints.told_of(None if united else place) for place in range(len(written))]
        return {
            name: told
            for layer, own, told in zip(written, self.mattes, of_each, strict=True)
            for name in with_derived(layer.name, own)
        }

    def claim(self, shot: ReopenableFrames) -> Claim:
        """What it asks of its folder."""
        names = [layer.name for layer in self.written_layers]
        files = file_sets(self.kinds, names, self.numbering(shot), self.derived)
        prompts = ({"prompt": layer.text, "name": layer.name, "folder": layer.name} for layer in self.written_layers)
        return Claim(
            self.out,
            tuple(files),
            tuple(prompts),
            self.provenance.fingerprint,
            self.provenance.plate,
            self.overwrite,
            self.again,
        )
