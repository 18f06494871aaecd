"""Edges solved: masks at the model's own size become alpha at the plate's, by closed-form matting.

A model states the mean of alpha over each of its cells, which are many pixels of the plate. `solver` finds the alpha
that has these means and follows the plate's colours; `cells` reads them out of masks, `laplacian` and `system` are the
equations, `decisions` says whether their solution is to be believed, `blur` how a mask that errs saw them,
`resampling` and `guided` go between sizes.
"""
