"""Runs inside a ComfyUI's own Python, one with ComfyUI-GGUF: REM weights over a MODEL of its loader; writes JSON.

    python gguf_in_host.py HOST BASE PACK REPORT

The MODEL is the small Wan of wan_bench.py, as `convert --as gguf` writes it. The test beside this file judges the
report.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

from host_session import sentence, start
from wan_bench import Bench, relative


def main(host: Path, base: Path, pack: Path, report: Path) -> None:
    load_rem = start(host, base, pack)["LoadREM"]
    import torch
    from refereverything_pack.rem_engine.checkpoints import read_state_dict
    from refereverything_pack.rem_engine.checkpoints.convert import Conversion, convert

    folder = host / "custom_nodes" / "ComfyUI-GGUF"
    spec = importlib.util.spec_from_file_location("gguf_nodes", folder / "__init__.py")
    loaders: Any = importlib.util.module_from_spec(spec)
    sys.modules["gguf_nodes"] = loaders
    spec.loader.exec_module(loaders)

    with torch.inference_mode():
        bench = Bench(load_rem, base / "models")
        models = base / "models"
        packed = models / "diffusion_models" / "wan.gguf"
        convert(Conversion(models / "diffusion_models" / "wan.safetensors", packed, form="gguf"))
        convert(Conversion(models / "rem" / "rem.safetensors", models / "rem" / "rem.gguf", form="gguf"))
        other = models / "rem" / "over_rem.safetensors"
        convert(Conversion(packed, other, form="delta", base=models / "rem" / "rem.safetensors"))
        own = models / "rem" / "over_base.safetensors"
        base_file = models / "diffusion_models" / "wan.safetensors"
        convert(Conversion(models / "rem" / "rem.safetensors", own, form="delta", base=base_file))
        wan = loaders.NODE_CLASS_MAPPINGS["UnetLoaderGGUF"]().load_unet("wan.gguf")[0]
        unpacked = read_state_dict(packed)
        results: dict[str, Any] = {
            "itself": relative(bench.predict(wan), bench.bare(bench.base)),
            "as it is unpacked": relative(bench.predict(wan), bench.bare(unpacked)),
        }
        forms = {
            "rem.safetensors": bench.rem,
            "delta.safetensors": {name: value + bench.delta[name] for name, value in unpacked.items()},
            "lora.safetensors": {name: value + bench.low_rank[name] for name, value in unpacked.items()},
            "rem.gguf": read_state_dict(models / "rem" / "rem.gguf"),
        }
        for file, weights in forms.items():
            model = bench.load(file, bench.add_lora(wan, 0.5))
            expected = weights | {f"{bench.layer}.weight": weights[f"{bench.layer}.weight"] + 0.5 * bench.lora}
            results[file] = relative(bench.predict(model), bench.bare(expected))
        results["after"] = relative(bench.predict(wan), bench.bare(unpacked))
        results["its own delta"] = sentence(lambda: bench.load("over_base.safetensors", wan))
        results["another's delta"] = sentence(lambda: bench.load("over_rem.safetensors", wan))
        results["shown"] = bench.shown
    report.write_text(json.dumps(results))


if __name__ == "__main__":
    main(*(Path(argument).absolute() for argument in sys.argv[1:5]))
