"""Sources: where frames come from."""

from perception.sources.opening import open_source
from perception.sources.source import Pace, Source

__all__ = ["Pace", "Source", "open_source"]
