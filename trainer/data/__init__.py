"""Sources of training samples: published datasets, users' own shots, synthetic shots, pseudo-video."""
