"""The mask decoder that belongs to a VAE of the host: bundled, or among its models."""

from __future__ import annotations

from pathlib import Path

import folder_paths
from comfy.sd import VAE

from ...rem_engine.backbones.load import MINI_FOLDER
from ...rem_engine.backbones.mask_decoder import FILE, MaskDecoder, decoder_hash, distilled_from, load_mask_decoder

_MODEL_FOLDER = "vae_approx"
_PART_OF_NAMES = Path(FILE).stem


def mask_decoder_of(vae: VAE) -> MaskDecoder:
    """The mask decoder that was distilled from a VAE's decoder, on the VAE's device.

    It is REM-mini's, or a file of models/vae_approx with "mask_decoder" in its name.

    Raises:
        ValueError: there is none, or a file is damaged.
    """
    listed = folder_paths.get_filename_list(_MODEL_FOLDER)
    names = [name for name in listed if _PART_OF_NAMES in name and name.endswith(".safetensors")]
    found = [folder_paths.get_full_path(_MODEL_FOLDER, name) for name in names]
    network = vae.first_stage_model
    teacher = decoder_hash(network)
    for path in (MINI_FOLDER / FILE, *(Path(path) for path in found if path is not None)):
        if path.is_file() and distilled_from(path) == teacher:
            return load_mask_decoder(path, network, vae.device)
    raise ValueError(
        "There is no mask decoder for this VAE: set decoder to vae, or put one that was distilled from it by "
        f"'rem-trainer distill-decoder' into models/{_MODEL_FOLDER}, with {_PART_OF_NAMES} in its name."
    )
