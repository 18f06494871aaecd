# The names that __init__.py looks up when they are asked for, as type checkers see them.
from .layers import parse_layers as parse_layers
from .matte.settings import MatteSettings as MatteSettings
from .media.plate_settings import PlateSettings as PlateSettings
from .media.reading import open_shot as open_shot
from .run.delivery_settings import DeliverySettings as DeliverySettings
from .run.segment_job import SegmentJob as SegmentJob
from .run.segment_run import segment_to_files as segment_to_files
from .segment.load import load_segmenter as load_segmenter
from .segment.segmenter import Result as Result
from .segment.segmenter import Segmenter as Segmenter
from .segment.settings import MaskSettings as MaskSettings
from .segment.settings import SegmentSettings as SegmentSettings

__version__: str
__all__: list[str]
