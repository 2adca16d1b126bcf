"""What the parts of the detector agree on; this module loads no Keras, so that a loader's workers can import it.

Sizes are half of those in the paper, whose frames are about twice as large as a street camera's at network size.
"""

from __future__ import annotations

from dataclasses import dataclass

from perception.classes import CITYSCAPES
from perception.errors import ConfigError

STRIDES = (4, 8, 16, 32, 64)  # of the pyramid (Lin et al. 2017, section 4.1): P2 to P6; boxes are read off the first 4
SIZES = (16, 32, 64, 128, 256)  # network pixels: the side of an anchor of each level
RATIOS = (0.5, 1.0, 2.0)  # height by width
CANONICAL = (56, 112, 224)  # sides from which on a box is read off the next coarser level (Lin 2017, equation 1)

BOX_BINS, MASK_BINS, MASK_SIDE = 7, 14, 28  # RoIAlign for boxes and for masks, and the finished mask
SAMPLES = 2  # points a bin in either direction
BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # of the second stage's box code; the first has ones

THING_IDS = CITYSCAPES.thing_ids()
THINGS = len(THING_IDS)  # class k of the heads, from 1, is THING_IDS[k - 1]; 0 is background

LEAST_SIDE = 64  # network pixels: a smaller frame has fewer anchors than are looked at


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """How many boxes go from stage to stage, and what is thrown away.

    Raises:
        ConfigError: a value is out of its range.
    """

    looked_at: int = 512  # anchors of highest objectness before suppression
    proposals: int = 128  # boxes that remain of these
    proposal_overlap: float = 0.7  # IoU above which the less likely of two proposals goes
    most: int = 64  # objects a frame
    threshold: float = 0.05  # probability from which on a box is an object
    overlap: float = 0.5  # IoU above which the less likely of two objects of one class goes

    def __post_init__(self) -> None:
        if not 1 <= self.most <= self.proposals <= self.looked_at <= 512:
            raise ConfigError(
                "Of objects, proposals and anchors looked at each is at least as many as the one before, 1 to 512; got "
                f"{self.most}, {self.proposals} and {self.looked_at}."
            )
        for name in ("proposal_overlap", "threshold", "overlap"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"The detector's {name} lies between 0 and 1, got {getattr(self, name)}.")
