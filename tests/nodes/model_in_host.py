"""Runs inside a ComfyUI's own Python: REM weights laid over MODELs, and what else lies on them; writes JSON.

    python model_in_host.py HOST BASE PACK REPORT

The MODEL is a Wan2.1 of two narrow blocks with random weights, loaded by the host's own loader. The tests beside this
file judge the report.
"""

from __future__ import annotations

import gc
import json
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from host_session import sentence, start
from wan_bench import (
    LATENTS,
    Bench,
    difference,
    differences,
    digest,
    new_network,
    relative,
    seen_weights,
    write_zeros,
)


def main(host: Path, base: Path, pack: Path, report: Path) -> None:
    load_rem = start(host, base, pack)["LoadREM"]
    import torch

    with torch.inference_mode():
        bench = Bench(load_rem, base / "models")
        results = {
            name: case(bench)
            for name, case in {
                "parameters": parameters,
                "original": original,
                "loras": loras,
                "wrapper": wrapper,
                "attention": attention,
                "compiled": compiled,
                "partial": partial,
                "cancel": cancel,
                "quantised": quantised,
                "eight bits": eight_bits,
                "too large": too_large,
                "bases": bases,
                "lycoris": lycoris,
                "carried": carried,
                "prompts": prompts,
                "sentences": sentences,
            }.items()
        }
    report.write_text(json.dumps(results))


def parameters(bench: Bench) -> dict[str, Any]:
    """Every parameter, and the output, for each form and strength."""
    wan = bench.wan()
    cases = {"whole": ("rem.safetensors", 1.0, bench.rem)}
    for name, delta in (("delta", bench.delta), ("lora", bench.low_rank)):
        for strength in (0.0, 0.5, 1.0):
            cases[f"{name} {strength}"] = (f"{name}.safetensors", strength, bench.changed(delta, strength))
    results = {}
    for name, (file, strength, expected) in cases.items():
        model = bench.load(file, wan, strength)
        results[name] = differences(seen_weights(bench, model), expected) | {
            "output": difference(bench.predict(model), bench.bare(expected)),
            "moves": difference(bench.predict(model), bench.bare(bench.base)),
        }
    return results


def original(bench: Bench) -> dict[str, Any]:
    """The MODEL that went in, after LoadREM, between runs, and after unloading."""
    import comfy.model_management

    wan = bench.wan()
    before, output = digest(wan), bench.predict(wan)
    results = {}
    for file in ("rem.safetensors", "delta.safetensors", "lora.safetensors"):
        model = bench.load(file, wan)
        loaded = digest(wan)
        bench.predict(model)
        again = difference(bench.predict(wan), output)
        bench.predict(model)
        comfy.model_management.unload_all_models()
        results[file] = {"loaded": loaded == before, "unloaded": digest(wan) == before, "output": again}
    return results


def loras(bench: Bench) -> dict[str, float]:
    """A LoRA from the stock loader before and after LoadREM: difference to both summed up."""
    results = {}
    for file, weights in (("rem.safetensors", bench.rem), ("delta.safetensors", bench.rem)):
        expected = weights | {f"{bench.layer}.weight": weights[f"{bench.layer}.weight"] + 0.5 * bench.lora}
        target = bench.bare(expected)
        before = bench.load(file, bench.add_lora(bench.wan(), 0.5))
        after = bench.add_lora(bench.load(file, bench.wan()), 0.5)
        results[f"before {file}"] = difference(bench.predict(before), target)
        results[f"after {file}"] = difference(bench.predict(after), target)
        results[f"both {file}"] = difference(
            bench.predict(bench.add_lora(bench.load(file, bench.add_lora(bench.wan(), 0.2)), 0.3)), target
        )
    results["twice"] = difference(
        bench.predict(bench.load("rem.safetensors", bench.load("rem.safetensors", bench.wan()))), bench.bare(bench.rem)
    )
    results["moves"] = difference(target, bench.bare(bench.rem))
    return results


def wrapper(bench: Bench) -> dict[str, Any]:
    """A DIFFUSION_MODEL wrapper sees the call of REM and its answer counts."""
    from comfy.patcher_extension import WrappersMP

    calls = []

    def double(executor: Any, x: Any, timestep: Any, context: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append([list(x.shape), timestep.tolist(), list(context.shape)])
        return executor(x, timestep, context, *args, **kwargs) * 2.0

    target = bench.bare(bench.rem) * 2.0
    before, after = bench.wan().clone(), bench.load("rem.safetensors", bench.wan()).clone()
    results = {}
    for name, model in (("before", before), ("after", after)):
        model.add_wrapper(WrappersMP.DIFFUSION_MODEL, double)
        model = bench.load("rem.safetensors", model) if name == "before" else model
        results[name] = difference(bench.predict(model), target)
    return results | {"calls": calls}


def attention(bench: Bench) -> dict[str, Any]:
    """An attention override set before LoadREM is what the network calls: here zeros, so that no token sees others."""
    import torch

    calls = []

    def zeros(attend: Any, q: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(list(q.shape))
        return torch.zeros_like(attend(q, *args, **kwargs))

    wan = bench.wan().clone()
    wan.model_options["transformer_options"]["optimized_attention_override"] = zeros
    silent = dict(bench.rem)
    for name in silent:  # what attention of zeros leaves: the bias of its output layer
        if name.endswith("attn.o.weight"):
            silent[name] = torch.zeros_like(silent[name])
    return {
        "output": difference(bench.predict(bench.load("rem.safetensors", wan)), bench.bare(silent)),
        "calls": len(calls),
    }


def compiled(bench: Bench) -> dict[str, Any]:
    """A MODEL compiled before LoadREM runs REM's weights, not its own."""
    import torch
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    modules = []

    def compile_nothing(model: Any, **options: Any) -> Any:
        modules.append(model)
        return model

    kept, torch.compile = torch.compile, compile_nothing  # compiling takes minutes; which modules it gets is the point
    wan = bench.wan().clone()
    set_torch_compile_wrapper(wan, backend="eager")
    torch.compile = kept
    return {
        "output": difference(bench.predict(bench.load("rem.safetensors", wan)), bench.bare(bench.rem)),
        "own modules": modules == [wan.model.diffusion_model],
    }


@contextmanager
def no_memory() -> Iterator[None]:
    """Makes the host leave all weights where they are and bring them up layer by layer, as on a small GPU."""
    import comfy.model_management as management

    kept = management.is_device_cpu, management.vram_state
    management.unload_all_models()
    management.is_device_cpu = lambda device: False
    management.vram_state = management.VRAMState.NO_VRAM
    try:
        yield
    finally:
        management.is_device_cpu, management.vram_state = kept
        management.unload_all_models()


def partial(bench: Bench) -> dict[str, Any]:
    """The same results where the host loads the MODEL in part."""
    wan = bench.wan()
    before = digest(wan)
    results = {}
    for file, expected in (
        ("rem.safetensors", bench.rem),
        ("delta.safetensors", bench.rem),
        ("lora.safetensors", bench.changed(bench.low_rank, 1.0)),
    ):
        model = bench.load(file, wan)
        with no_memory():
            found = seen_weights(bench, model)
            low = model.model.model_lowvram
            output = difference(bench.predict(model), bench.bare(expected))
        results[file] = differences(found, expected) | {
            "output": output,
            "in part": low,
            "unloaded": digest(wan) == before,
        }
    return results


def cancel(bench: Bench) -> dict[str, Any]:
    """A cancel inside the network: the run ends, its tensors are freed, and the next run is right."""
    import comfy.model_management as management
    from comfy.patcher_extension import WrappersMP

    held = []

    def interrupt(executor: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        held.append(weakref.ref(x))
        management.interrupt_current_processing()
        management.throw_exception_if_processing_interrupted()

    model = bench.load("delta.safetensors", bench.wan())
    cancelled = model.clone()
    cancelled.add_wrapper(WrappersMP.DIFFUSION_MODEL, interrupt)
    try:
        bench.predict(cancelled)
    except management.InterruptProcessingException:
        ended = True
    else:
        ended = False
    gc.collect()
    return {
        "ended": ended,
        "freed": [reference() is None for reference in held],
        "next": difference(bench.predict(model), bench.bare(bench.rem)),
    }


def scaled(weights: dict[str, Any]) -> dict[str, Any]:
    """Weights as the host's scaled fp8 files hold them."""
    import torch

    result = {"scaled_fp8": torch.zeros(0, dtype=torch.float8_e4m3fn)}
    for name, value in weights.items():
        result[name] = value
        if name.endswith("weight") and value.dim() == 2:
            scale = value.abs().max() / 448.0
            result[name] = (value / scale).to(torch.float8_e4m3fn)
            result[f"{name.removesuffix('.weight')}.scale_weight"] = scale
    return result


def quantised(bench: Bench) -> dict[str, Any]:
    """An fp8 and a scaled fp8 MODEL: relative errors of the output."""
    import comfy.sd
    from refereverything_pack.nodes.host.patching import is_rounded
    from safetensors.torch import save_file

    results = {}
    models = {
        "fp8": bench.wan("fp8_e4m3fn"),
        "scaled": comfy.sd.load_diffusion_model_state_dict(scaled(bench.base)),
    }
    for name, wan in models.items():
        before = digest(wan)
        results[name] = {"itself": relative(bench.predict(wan), bench.bare(bench.base))}
        for file, weights in (
            ("rem.safetensors", bench.rem),
            ("delta.safetensors", bench.rem),
            ("lora.safetensors", bench.changed(bench.low_rank, 1.0)),
        ):
            model = bench.load(file, bench.add_lora(wan, 0.5))
            expected = weights | {f"{bench.layer}.weight": weights[f"{bench.layer}.weight"] + 0.5 * bench.lora}
            results[name][file] = relative(bench.predict(model), bench.bare(expected))
        comfy.model_management.unload_all_models()
        results[name]["unchanged"] = digest(wan) == before
    save_file(scaled(bench.rem), bench.models / "rem" / "scaled.safetensors")
    alone = bench.load("scaled.safetensors", None)
    results["file"] = {"kept": is_rounded(alone), "output": relative(bench.predict(alone), bench.bare(bench.rem))}
    wrapped = {f"ema.model.diffusion_model.{name}": value for name, value in scaled(bench.rem).items()}
    save_file(wrapped, bench.models / "rem" / "wrapped.safetensors")
    results["wrapped"] = relative(bench.predict(bench.load("wrapped.safetensors", None)), bench.bare(bench.rem))
    return results | {"shown": list(bench.shown)}


def eight_bits(bench: Bench) -> dict[str, Any]:
    """Whole files that `convert` rounded to eight bits: whether they stay so, and relative errors of the output."""
    import torch
    from refereverything_pack.nodes.host.quantised import is_quantised
    from refereverything_pack.rem_engine.checkpoints import read_state_dict, to_original
    from refereverything_pack.rem_engine.checkpoints.convert import Conversion, convert

    folder = bench.models / "rem"
    source = folder / "rem.safetensors"
    files = {
        "int8.safetensors": {"dtype": torch.int8},
        "int8_diffusers.safetensors": {"dtype": torch.int8, "names": "diffusers"},
        "fp8_diffusers.safetensors": {"dtype": torch.float8_e4m3fn, "names": "diffusers"},
        "packed.gguf": {"form": "gguf"},
    }
    results = {}
    for file, options in files.items():
        convert(Conversion(source, folder / file, **options))
        model = bench.load(file, None)
        output = bench.predict(model)
        results[file] = {
            "kept": any(is_quantised(weight) for weight in model.model.diffusion_model.parameters()),
            "output": relative(output, bench.bare(bench.rem)),
            "multiplied out": relative(output, bench.bare(to_original(read_state_dict(folder / file)))),
        }
    delta = bench.load("delta.safetensors", bench.load("int8.safetensors", None))
    whole = bench.load("int8.safetensors", bench.wan())
    expected = {name: value + bench.delta[name] for name, value in bench.rem.items()}
    results["delta over int8"] = relative(bench.predict(delta), bench.bare(expected))
    unpacked = read_state_dict(folder / "int8.safetensors")
    results["int8 over a MODEL"] = relative(bench.predict(whole), bench.bare(unpacked))
    return results


def too_large(bench: Bench) -> str:
    """What 14B is answered with on a CPU whose memory holds its file, and not its weights in float32."""
    import refereverything_pack.nodes.host.quantised as quantised_weights

    network = new_network("meta", 5120, 13824, 40).state_dict()
    write_zeros(bench.models / "rem" / "rem_14b.safetensors", network)
    kept, quantised_weights.free_bytes = quantised_weights.free_bytes, lambda: 40_000_000_000
    try:
        return sentence(lambda: bench.load("rem_14b.safetensors", None))
    finally:
        quantised_weights.free_bytes = kept


def lycoris(bench: Bench) -> dict[str, float]:
    """A LoHa and a LoKr under LyCORIS' names: the output, against a bare forward with their products added."""
    import torch
    from safetensors.torch import save_file

    def drawn(*shape: int) -> Any:
        return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))) / 4

    name = f"{bench.layer}.weight"
    rows, columns = bench.base[name].shape
    stored = f"lycoris_{bench.layer.replace('.', '_')}"
    halves = [drawn(rows, 3), drawn(3, columns), drawn(rows, 2), drawn(2, columns)]
    loha = dict(zip(("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"), halves)) | {"alpha": torch.tensor(6.0)}
    lokr = {"lokr_w1": drawn(4, 2), "lokr_w2_a": drawn(rows // 4, 2), "lokr_w2_b": drawn(2, columns // 2)}
    products = {
        "loha": (loha, (halves[0] @ halves[1]) * (halves[2] @ halves[3]) * 2.0),
        "lokr": (lokr, torch.kron(lokr["lokr_w1"], lokr["lokr_w2_a"] @ lokr["lokr_w2_b"])),
    }
    results = {}
    for kind, (parts, product) in products.items():
        named = {f"{stored}.{part}": value for part, value in parts.items()}
        save_file(named, bench.models / "rem" / f"{kind}.safetensors")
        expected = bench.bare(bench.base | {name: bench.base[name] + 0.5 * product})
        results[kind] = difference(bench.predict(bench.load(f"{kind}.safetensors", bench.wan(), 0.5)), expected)
        results[f"{kind} moves"] = difference(expected, bench.bare(bench.base))
    return results


def bases(bench: Bench) -> dict[str, str]:
    """Deltas that say what they were made over, over that and over others: what LoadREM says."""
    from refereverything_pack.rem_engine.checkpoints.base_signature import KEY, sign_base
    from safetensors.torch import load_file, save_file

    folder = bench.models / "rem"
    for name, weights in (("of_base", bench.base), ("of_rem", bench.rem)):
        signature = sign_base(weights, lambda name, row, of=weights: (of[name][row].reshape(-1), of[name].dtype))
        metadata = {KEY: signature.to_text(), "rem.base": f"{name}.safetensors"}
        save_file(load_file(folder / "delta.safetensors"), folder / f"{name}.safetensors", metadata)
    over = {
        "base": bench.wan(),
        "fp8 base": bench.wan("fp8_e4m3fn"),
        "base with a LoRA": bench.add_lora(bench.wan(), 0.5),
        "REM": bench.load("rem.safetensors", None),
        "REM over base": bench.load("rem.safetensors", bench.add_lora(bench.wan(), 0.5)),
        "delta over base": bench.load("of_base.safetensors", bench.add_lora(bench.wan(), 0.5)),
        "delta over fp8 base": bench.load("delta.safetensors", bench.wan("fp8_e4m3fn")),
    }
    answers = {}
    for name, model in over.items():
        for file in ("of_base.safetensors", "of_rem.safetensors"):
            answers[f"{file} {name}"] = sentence(lambda file=file, model=model: bench.load(file, model))
            bench.predict(model)  # now its patches are in the weights
            answers[f"{file} {name}, loaded"] = sentence(lambda file=file, model=model: bench.load(file, model))
    return answers


def carried(bench: Bench) -> dict[str, Any]:
    """What a MODEL carries besides weights, on what LoadREM makes of it."""
    from comfy.patcher_extension import CallbacksMP, WrappersMP

    def passing(executor: Any, *args: Any, **kwargs: Any) -> Any:
        return executor(*args, **kwargs)

    def called(*args: Any) -> None:
        pass

    sampling = object()
    results = {}
    for precision in ("default", "fp8_e4m3fn"):
        wan = bench.wan(precision).clone()
        wan.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", passing)
        wan.add_callback_with_key(CallbacksMP.ON_LOAD, "test", called)
        wan.set_attachments("test", "kept")
        wan.add_object_patch("model_sampling", sampling)
        wan.model_options["transformer_options"]["test"] = "kept"
        wan.set_model_unet_function_wrapper(called)
        for file in ("rem.safetensors", "delta.safetensors"):
            model = bench.load(file, wan)
            results[f"{precision} {file}"] = {
                "wrapper": model.get_wrappers(WrappersMP.DIFFUSION_MODEL, "test") == [passing],
                "callback": model.get_callbacks(CallbacksMP.ON_LOAD, "test") == [called],
                "attachment": model.get_attachment("test") == "kept",
                "object patch": model.get_model_object("model_sampling") is sampling,
                "options": model.model_options["transformer_options"]["test"] == "kept"
                and model.model_options["model_function_wrapper"] is called,
                "devices": (model.load_device, model.offload_device) == (wan.load_device, wan.offload_device),
                "itself": model is not wan and not wan.get_attachment("refereverything"),
            }
    return results


def prompts(bench: Bench) -> dict[str, Any]:
    """Prompts in a pass, where the device has room for three and a half, beside the model alone, or for none."""
    import comfy.model_management as management
    from refereverything_pack.nodes.host.backbone import HostBackbone

    model = bench.wan()
    one = model.memory_required([1, *LATENTS[1:]])
    backbone = HostBackbone(model, bench.vae)
    free = 3.5 * one + management.extra_reserved_memory()
    kept = management.get_free_memory, management.is_device_cpu, management.current_loaded_models
    results = {}
    try:
        management.get_free_memory = lambda device: free
        results["cpu"] = backbone.prompts_per_pass(bench.latents)
        # On a GPU what other models take can be freed, and this one has to be there.
        other = SimpleNamespace(device=model.load_device, model_loaded_memory=lambda: model.model_size() + 2 * one)
        management.is_device_cpu = lambda device: False
        management.current_loaded_models = [other]
        results["gpu"] = backbone.prompts_per_pass(bench.latents)
        management.get_free_memory = lambda device: 0.0
        management.current_loaded_models = []
        results["full"] = backbone.prompts_per_pass(bench.latents)
    finally:
        management.get_free_memory, management.is_device_cpu, management.current_loaded_models = kept
    return results


def sentences(bench: Bench) -> dict[str, str]:
    """What wrong combinations are answered with."""
    import torch
    from comfy.patcher_extension import WrappersMP
    from safetensors.torch import save_file

    narrow = {"diffusion_model.text_embedding.2.diff": torch.zeros(64, 64)}
    save_file(narrow, bench.models / "rem" / "narrow.safetensors")
    write_zeros(bench.models / "rem" / "small.safetensors", new_network("meta", 1536, 8960, 30).state_dict())
    torch.save({"model": bench.rem, "ema": bench.base}, bench.models / "rem" / "two.pth")
    compiled = bench.wan("fp8_e4m3fn").clone()
    compiled.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "torch.compile", lambda executor, *args: executor(*args))
    calls: dict[str, Callable[[], Any]] = {
        "delta alone": lambda: bench.load("delta.safetensors", None),
        "lora alone": lambda: bench.load("lora.safetensors", None),
        "part of whole weights": lambda: bench.load("rem.safetensors", bench.wan(), 0.5),
        "part of mini": lambda: bench.load("REM-mini (bundled)", None, 0.5),
        "strength": lambda: bench.load("delta.safetensors", bench.wan(), 1.5),
        "other size": lambda: bench.load("narrow.safetensors", bench.wan()),
        "1.3B over this": lambda: bench.load("small.safetensors", bench.wan()),
        "whole over delta": lambda: bench.load("rem.safetensors", bench.load("delta.safetensors", bench.wan())),
        "two denoisers": lambda: bench.load("two.pth", None),
        "compiled fp8": lambda: bench.load("rem.safetensors", compiled),
    }
    return {name: sentence(call) for name, call in calls.items()}


if __name__ == "__main__":
    main(*(Path(argument).absolute() for argument in sys.argv[1:5]))
