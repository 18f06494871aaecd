"""A studio's few shots: a model taught a look, in one command."""
