"""A training run: its loop, checkpoints, optimizer, processes, evaluation and folder."""
