# The names that __init__.py looks up when they are asked for, as type checkers see them.
from .chain import matte_frames as matte_frames
from .colour import composite as composite
from .colour import decontaminate as decontaminate
from .colour import merge_alpha as merge_alpha
from .edge_mattes import core_and_edge as core_and_edge
from .edge_mattes import edge_blur as edge_blur
from .edges import feather as feather
from .edges import grow as grow
from .edges import levels as levels
from .edges import threshold as threshold
from .frames import Frame as Frame
from .layered import matte_layers as matte_layers
from .refinement import refine as refine
from .regions import fill_holes as fill_holes
from .regions import remove_islands as remove_islands
from .settings import MatteSettings as MatteSettings
from .temporal import FlowSmoother as FlowSmoother
from .temporal import flicker as flicker

__all__: list[str]
