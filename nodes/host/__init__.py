"""The host's side of the pack: its schemas, files, MODEL, CLIP and VAE in the engine's terms."""
