"""Tracking scores: MOTA and IDF1 by the library motmetrics, HOTA here (motmetrics has none).

Bernardin, Stiefelhagen 2008, "Evaluating Multiple Object Tracking Performance: The CLEAR MOT Metrics" (MOTA);
Ristani et al. 2016, "Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking" (IDF1);
Luiten et al. 2021, "HOTA: A Higher Order Metric for Evaluating Multi-object Tracking", section 4.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from perception.errors import ConfigError

MATCH = 0.5  # overlap of masks from which on an object is found, for MOTA and IDF1
ALPHAS = np.arange(0.05, 0.99, 0.05)  # overlaps over which HOTA is the mean
Similarity = npt.NDArray[np.float64]  # (T, N) overlap of true and predicted objects of one frame, 0..1
Tracks = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TrackingScore:
    """Figures over all drives together; NaN where there is no true object."""

    frames: int
    objects: int  # true ones, frame by frame
    tracks: int  # true ones
    found_tracks: int  # predicted ones
    mota: float
    idf1: float
    hota: float
    deta: float
    assa: float
    switches: int

    def to_json(self) -> dict[str, object]:
        """Plain numbers, rounded to four digits; None where there is no figure."""
        values: dict[str, float | int] = asdict(self)
        return {name: round(value, 4) if np.isfinite(value) else None for name, value in values.items()}


class TrackingTally:
    """Collects the objects of drives, frame by frame.

    Raises:
        ConfigError: motmetrics or SciPy is not installed.
    """

    def __init__(self) -> None:
        try:
            import motmetrics  # type: ignore[import-untyped]
            import scipy.optimize  # type: ignore[import-untyped]  # noqa: F401
        except ImportError as error:
            raise ConfigError(
                f"Tracks are scored with motmetrics and SciPy, and {error.name} is missing: "
                "pip install 'roadcast[tracking]'."
            ) from None
        self._matches = motmetrics.MOTAccumulator(auto_id=True)
        self._frames: list[tuple[Tracks, Tracks, Similarity]] = []
        self._drive = 0
        self._numbers: dict[tuple[int, int], int] = {}

    def restart(self) -> None:
        """The next frame is of another drive: nothing in it is what was in the last one."""
        self._drive += 1

    def add(self, truth: Tracks, found: Tracks, similarity: Similarity) -> None:
        """Count one frame: the tracks of its (T,) true and (N,) predicted objects, and how well each two overlap."""
        self._frames.append((self._own(truth), self._own(found), similarity))
        apart = np.where(similarity >= MATCH, 1 - similarity, np.nan)
        self._matches.update(self._frames[-1][0], self._frames[-1][1], apart)

    def score(self) -> TrackingScore:
        """The figures of all frames so far."""
        import motmetrics

        names = ["mota", "idf1", "num_switches"]
        truth = np.concatenate([np.zeros(0, np.int64), *(frame[0] for frame in self._frames)])
        found = np.concatenate([np.zeros(0, np.int64), *(frame[1] for frame in self._frames)])
        figures = {"mota": np.nan, "idf1": np.nan, "num_switches": 0}
        if len(truth):
            figures = motmetrics.metrics.create().compute(self._matches, metrics=names, return_dataframe=False)
        hota, deta, assa = higher_order(self._frames)
        return TrackingScore(
            frames=len(self._frames),
            objects=len(truth),
            tracks=len(np.unique(truth)),
            found_tracks=len(np.unique(found)),
            mota=float(figures["mota"]),
            idf1=float(figures["idf1"]),
            hota=hota,
            deta=deta,
            assa=assa,
            switches=int(figures["num_switches"]),
        )

    def _own(self, tracks: Tracks) -> Tracks:
        """Tracks of this drive, in numbers that no other drive has; an object without one (-1) has its own number."""
        numbers = self._numbers
        own = []
        for track in tracks.tolist():
            alone = -1 - len(numbers)  # given to no other, for the numbers grow by it
            own += [numbers.setdefault((self._drive, track if track >= 0 else alone), len(numbers))]
        return np.array(own, np.int64)


def higher_order(frames: list[tuple[Tracks, Tracks, Similarity]]) -> tuple[float, float, float]:
    """HOTA, DetA and AssA of frames as (true tracks, predicted tracks, similarity); NaN without true objects."""
    from scipy.optimize import linear_sum_assignment

    truth, places = _numbered([frame[0] for frame in frames])
    found, others = _numbered([frame[1] for frame in frames])
    if not truth:
        return float("nan"), float("nan"), float("nan")
    likely = np.zeros((truth, found))  # how much two tracks overlap all their lives
    seen, said = np.zeros(truth), np.zeros(found)
    for rows, columns, (_, _, similarity) in zip(places, others, frames):
        every = similarity.sum(axis=0) + similarity.sum(axis=1, keepdims=True) - similarity
        likely[np.ix_(rows, columns)] += np.divide(similarity, every, out=np.zeros_like(similarity), where=every > 0)
        seen[rows] += 1
        said[columns] += 1
    likely /= seen[:, None] + said - likely
    together = np.zeros((len(ALPHAS), truth, found))
    for rows, columns, (_, _, similarity) in zip(places, others, frames):
        one, other = linear_sum_assignment(-likely[np.ix_(rows, columns)] * similarity)
        met = similarity[one, other] >= ALPHAS[:, None] - np.finfo(float).eps
        for level, hits in enumerate(met):
            together[level, rows[one[hits]], columns[other[hits]]] += 1
    hits = together.sum(axis=(1, 2))
    deta = hits / (seen.sum() + said.sum() - hits)
    assa = (together**2 / (seen[:, None] + said - together)).sum(axis=(1, 2)) / np.maximum(hits, 1)
    return float(np.sqrt(deta * assa).mean()), float(deta.mean()), float(assa.mean())


def _numbered(frames: list[Tracks]) -> tuple[int, list[npt.NDArray[np.int64]]]:
    """How many tracks there are, and each frame's as places among them."""
    tracks = np.unique(np.concatenate([np.zeros(0, np.int64), *frames]))
    return len(tracks), [np.searchsorted(tracks, frame) for frame in frames]
