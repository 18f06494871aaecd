"""How a plate's colours are taken: its space, how that is known, and the view in which the model sees it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ..pixels import unit_values
from .colour import REC_709, linear_to_srgb, srgb_to_linear
from .plate_settings import AUTO, PlateSettings
from .plate_space import SRGB_TRANSFER, PlateSpace, named_space, tagged_space
from .stated_space import Stated

ASKED = "asked for"
"""How a space is known that was named."""


@dataclass(frozen=True)
class PlateColour:
    """The colours of a plate, and their view to display sRGB.

    The view is colorimetric: light of the plate's gamut is brought to Rec. 709, brightened by the exposure, clipped to
    0..1 and given the sRGB curve, so that a picture that was made for a screen is seen as it was. Nothing tone-maps.

    Attributes:
        space: what the plate's values are.
        known_from: how that is known, for run.json.
        exposure: stops by which the view is brighter.
    """

    space: PlateSpace = field(default_factory=lambda: tagged_space(REC_709, SRGB_TRANSFER))
    known_from: str = ""
    exposure: float = 0.0

    @property
    def shows_as_is(self) -> bool:
        """Whether stored values are display values already."""
        return self.space.is_display and self.exposure == 0.0

    @property
    def is_light(self) -> bool:
        """Whether stored values are scene-linear light."""
        return self.space.curve is None

    def display(self, stored: np.ndarray) -> np.ndarray:
        """Stored values [...,3] -> display sRGB in 0..1: as they are where that is what they are (uint8 too), else
        float32."""
        if self.shows_as_is:
            return stored if stored.dtype == np.uint8 else stored.clip(0.0, 1.0)
        return linear_to_srgb(self._rec709(stored))

    def picture(self, stored: np.ndarray) -> np.ndarray:
        """Stored values [...,3] as PNG and videos have them: as they are where tags can say what these are (uint8 too),
        else display sRGB, not exposed. In 0..1."""
        if self.space.tags is None:
            return replace(self, exposure=0.0).display(stored)
        return stored if stored.dtype == np.uint8 else stored.clip(0.0, 1.0)

    @property
    def picture_is_display(self) -> bool:
        """Whether `picture` gives what `display` does."""
        return self.shows_as_is or (self.space.tags is None and self.exposure == 0.0)

    def repainted(self, picture: np.ndarray, display: np.ndarray, colours: np.ndarray) -> np.ndarray:
        """A picture whose view was `display`, float [...,3] each, so that its view is `colours`; where these are alike
        it stays to the bit."""
        if self.picture_is_display:
            return colours
        plain = replace(self, exposure=0.0)
        change = self.light_of_display(colours) - self.light_of_display(display)
        if self.space.tags is None:
            painted = plain.display(plain.light_of_display(picture) + change)
        else:
            painted = self.space.codes(self.space.light(picture) + change).clip(0.0, 1.0)
        return np.where(colours == display, picture, painted)

    def roots(self, stored: np.ndarray) -> np.ndarray:
        """Stored values [...,3] -> the square roots of what the view shows of their light, float32 in 0..1, for a
        resize: averages of these are close to those of display values, and cost a tenth. `shown` is the rest of the
        view."""
        light = np.clip(self._rec709(stored), 0.0, 1.0)
        return np.sqrt(light, out=light)

    @staticmethod
    def shown(roots: np.ndarray) -> np.ndarray:
        """What `roots` gave, resized -> display sRGB, float32 in 0..1."""
        return linear_to_srgb(np.square(roots))

    def light(self, stored: np.ndarray) -> np.ndarray:
        """Stored values [...,3] -> scene-linear light of the plate's own gamut, not exposed, float32."""
        return self.space.light(unit_values(stored))

    def light_of_display(self, display: np.ndarray) -> np.ndarray:
        """Display sRGB [...,3] -> the light of the plate's gamut that the view shows so, float32."""
        light = srgb_to_linear(display)
        return light if self._is_identity else _through(light, np.linalg.inv(self._gained))

    @property
    def black(self) -> float:
        """The stored value of no light, of floats."""
        return float(self.space.codes(np.zeros((1, 3), np.float32))[0, 0])

    @property
    def _gained(self) -> np.ndarray:
        return self.space.to_rec709 * 2.0**self.exposure

    @property
    def _is_identity(self) -> bool:
        return bool(np.abs(self._gained - np.eye(3)).max() < 1e-6)

    def _rec709(self, stored: np.ndarray) -> np.ndarray:
        """Exposed light of Rec. 709, float32 [...,3], not clipped; may be `stored` itself."""
        light = self.light(stored)
        return light if self._is_identity else _through(light, self._gained)


def colour_of(stated: Stated, settings: PlateSettings) -> PlateColour:
    """The colours of a plate: of the space that was asked for, or else of what it states.

    Raises:
        ValueError: an unknown space, or one that has to be named since the file does not say.
    """
    if settings.plate_space == AUTO:
        return PlateColour(stated.required(), stated.source, settings.exposure)
    return PlateColour(named_space(settings.plate_space), ASKED, settings.exposure)


def _through(light: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Light [...,3] through a matrix, float32."""
    return (light.reshape(-1, 3) @ matrix.T.astype(np.float32)).reshape(light.shape)
