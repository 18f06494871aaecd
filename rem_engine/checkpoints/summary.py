"""What a conversion wrote, and the report of a LoRA."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from .low_rank import OVERSAMPLING, POWER_ITERATIONS


@dataclass
class Summary:
    """What was written.

    Attributes:
        tensors: in the file, in all.
        size: of the file, bytes.
        kept: of a LoRA: name of every factorised weight -> share of its change's energy that is kept, 0..1.
        energy: of a LoRA: name of every changed weight -> energy (squared Frobenius norm) of its change.
        full: of a delta or LoRA: weights with a full difference.
        unchanged: of a delta or LoRA: weights equal to the base's, which are left out.
    """

    tensors: int = 0
    size: int = 0
    kept: dict[str, float] = field(default_factory=dict)
    energy: dict[str, float] = field(default_factory=dict)
    full: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)

    @property
    def energy_kept(self) -> float:
        """Share of the whole change's energy that the file keeps, 0..1."""
        return self._kept_of(self.energy)

    @property
    def energy_kept_factorised(self) -> float:
        """The same of the factorised weights alone."""
        return self._kept_of({name: self.energy[name] for name in self.kept})

    def _kept_of(self, energy: dict[str, float]) -> float:
        total = sum(energy.values())
        return sum(self.kept.get(name, 1.0) * own for name, own in energy.items()) / total if total else 1.0


def report_path(out: Path) -> Path:
    """Where the report of a LoRA file lies: rem.safetensors has rem.report.json."""
    return out.with_suffix(".report.json")


def write_report(file: Path, summary: Summary, *, source: str, base: str, rank: int) -> None:
    """Write what a LoRA file keeps of every weight's change, as shares of squared Frobenius norms, 0..1."""
    report = {
        "source": source,
        "base": base,
        "rank": rank,
        "method": {"oversampling": OVERSAMPLING, "power_iterations": POWER_ITERATIONS},
        "energy_kept": summary.energy_kept,
        "energy_kept_factorised": summary.energy_kept_factorised,
        "layers": {
            name: {"energy_kept": kept, "share_of_change": summary.energy[name] / sum(summary.energy.values())}
            for name, kept in summary.kept.items()
        },
        "full_differences": summary.full,
        "unchanged": summary.unchanged,
    }
    file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
