"""Sources of training samples: published datasets, users' own shots, synthetic shots, pseudo-video.

`open_sources` opens what the settings name, `Loader` draws batches from it; `sample` says what a source is.
"""
