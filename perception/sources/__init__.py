"""Sources: where frames come from."""

from perception.sources.opening import open_source
from perception.sources.patience import Patience
from perception.sources.source import News, Pace, Source

__all__ = ["News", "Pace", "Patience", "Source", "open_source"]
