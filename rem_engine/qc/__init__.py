"""Quality control of what a run wrote: defects of mattes found without looking at every frame."""
