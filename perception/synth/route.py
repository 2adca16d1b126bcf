"""The street's own coordinates: its cross-section, its centre line, and the eye that travels along it.

``d`` is metres right of the centre line, ``z`` metres along the street. The world point of (d, z) is
(centre(z) + d, z): a gentle curve is a shear of the straight street.
"""

from __future__ import annotations

from dataclasses import dataclass

from perception.synth.camera import Camera
from perception.synth.chance import Dice, Floats, Wander, mix
from perception.synth.options import StreetOptions

CELL = 36.0  # metres of street that are laid out together
GROUP = 5  # cells between two junctions
LANE = 3.4
PARKING = 2.3
TRAM = 3.3  # metres from the centre line to the edge of a tram track


@dataclass(frozen=True, slots=True)
class Section:
    """Distances from the centre line, in metres."""

    tram: bool
    lane: float  # centre of the lane for traffic
    edge: float  # outer edge of the lane
    road: float  # the kerb
    front: float  # the fronts of the houses
    grass_verge: bool  # a strip of grass between kerb and pavement
    avenue: bool  # trees along the kerb
    suburb: bool  # gardens and meadows rather than rows of houses
    left_hand: bool
    wear: float  # 0 new and dark asphalt .. 1 old and pale


def section_of(seed: int) -> Section:
    """The cross-section of this seed's street."""
    dice = Dice(seed, 11)
    tram = seed == 1 or dice.chance(0.4)
    suburb = seed != 1 and dice.chance(0.4)
    parking = seed == 1 or dice.chance(0.3 if suburb else 0.85)
    inner = TRAM if tram else 0.0
    edge = inner + LANE + 0.5
    road = edge + (PARKING if parking else 0.3)
    return Section(
        tram=tram,
        lane=inner + LANE / 2,
        edge=edge,
        road=road,
        front=road + dice.between(4.4, 7.8),
        grass_verge=seed == 1 or dice.chance(0.55),
        avenue=dice.chance(0.5),
        suburb=suburb,
        left_hand=seed != 1 and dice.chance(0.45),
        wear=dice.unit(),
    )


class Route:
    """Where the street runs and where the camera is at any time."""

    def __init__(self, options: StreetOptions) -> None:
        self._options = options
        self.section = section_of(options.seed)
        dice = Dice(options.seed, 12)
        self._center = Wander(mix(options.seed, 13), 90.0, dice.between(0.0, 11.0))
        self._pace = Wander(mix(options.seed, 14), 6.0, 9.0)
        self._sway = Wander(mix(options.seed, 15), 3.0, 0.35)
        self._gaze = Wander(mix(options.seed, 16), 4.0, 0.03)
        self._bounce = Wander(mix(options.seed, 17), 0.35, dice.between(0.0005, 0.004))
        self._speed = dice.between(8.0, 11.0)
        self._start = dice.between(0.0, 40.0)
        width, height = options.size
        # Between KITTI's 80 degrees and a narrow dashcam; a tall image needs a longer lens.
        self._focal = max(dice.between(0.62, 1.0) * width, 0.62 * height)
        self._eye = dice.between(1.25, 1.75)
        self._pitch = dice.between(-0.06, 0.035)

    def center(self, z: float) -> float:
        """World x of the centre line."""
        return self._center.value(z)

    def heading(self, z: float) -> tuple[float, float]:
        """Unit vector (x, z) along the street."""
        slope = self._center.slope(z)
        norm = (1.0 + slope * slope) ** -0.5
        return slope * norm, norm

    def driven(self, t: float) -> float:
        """Metres along the street after ``t`` seconds; never runs backwards."""
        return self._start + self._speed * t + self._pace.value(t)

    def camera(self, t: float) -> Camera:
        """The camera at time ``t`` in seconds."""
        z = self.driven(t)
        d = self.section.lane + self._sway.value(t)
        tangent = self._center.slope(z + 6.0) + self._gaze.value(t)
        cos = (1.0 + tangent * tangent) ** -0.5
        width, height = self._options.size
        pitch = self._pitch + self._bounce.value(t)
        return Camera(
            x=self.center(z) + d,
            y=self._eye,
            z=z,
            sin=tangent * cos,
            cos=cos,
            focal=self._focal,
            center_x=width / 2 - 0.5,
            horizon=height / 2 - 0.5 + pitch * self._focal,
            hand=-1.0 if self.section.left_hand else 1.0,
            width=width,
            height=height,
        )

    def world(self, d: float, z: float, y: float = 0.0) -> tuple[float, float, float]:
        """The world point of street coordinates."""
        return self.center(z) + d, y, z

    def corners(self, d: Floats, z: Floats) -> tuple[Floats, Floats]:
        """World (x, z) of arrays of street coordinates."""
        return self._center.values(z) + d, z
