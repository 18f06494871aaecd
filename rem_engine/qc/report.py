"""What quality control found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from .. import __version__
from ..media.numbering import frame_range
from .findings import Finding
from .measure import Measures
from .settings import QcSettings
from .written import Written


@dataclass(frozen=True)
class Report:
    """What quality control found.

    Attributes:
        written: what was looked at.
        limits: beyond which something is a defect.
        findings: defects, those of layers first; () for none.
        measured: of each layer, by its name, what was measured of each frame; None where it is missing.
        has_plate: whether the plate was at hand, without which flicker, holes and islands are not looked for.
        found_cuts: frames at which the plate cuts.
    """

    written: Written = field(repr=False)
    limits: QcSettings
    findings: tuple[Finding, ...]
    measured: dict[str, list[Measures | None]] = field(repr=False)
    has_plate: bool
    found_cuts: tuple[int, ...]

    @property
    def is_clean(self) -> bool:
        return not self.findings

    def to_json(self) -> dict[str, Any]:
        """What qc.json says."""
        written = self.written
        return {
            "rem_engine": __version__,
            "clean": self.is_clean,
            "shot": written.title,
            "numbers": frame_range(written.numbers),
            "limits": asdict(self.limits),
            "with_plate": self.has_plate,
            "findings": [found.to_json() for found in self.findings],
            "layers": {
                layer.name: {
                    "files": layer.kind,
                    "frames": [_entry(layer.numbers, one) for one in self.measured[layer.name] if one is not None],
                }
                for layer in written.layers
            },
        }


def _entry(numbers: tuple[int, ...], one: Measures) -> dict[str, Any]:
    values = {name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(one).items()}
    return {"number": numbers[one.index]} | {name: value for name, value in values.items() if name != "index"}
