"""Runs from disk to disk: what stands in OUT, how a run goes on, and the files that are delivered."""
