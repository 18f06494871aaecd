"""Published benchmarks: masks predicted in the authors' way, stored in their layouts, scored as they score."""
