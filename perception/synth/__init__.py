"""A synthetic street with exact ground truth: ``synth://street``."""

from perception.synth.options import WEATHERS, StreetOptions, Weather, format_uri, parse_uri
from perception.synth.street import Street, SynthFrame, SynthObject

__all__ = [
    "WEATHERS",
    "Street",
    "StreetOptions",
    "SynthFrame",
    "SynthObject",
    "Weather",
    "format_uri",
    "parse_uri",
]
