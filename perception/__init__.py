"""roadcast: streaming video perception for driving scenes.

Importing this package loads nothing heavy. What a subscriber needs is in :mod:`perception.client`.
"""

__version__ = "0.1.0"
