"""The richer world: thin, two-coloured and textured things that occlude, cast shadows and are mirrored."""
