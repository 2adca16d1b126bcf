"""The digest of a frame: shares, nearest things and the drivable polygon, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scenes import make_scene

from perception.classes import CITYSCAPES
from perception.stages.digest import PARTS, digests, drivable, nearest, share
from perception.types import VOID, Size
from perception.wire.encode import content_of

masks = arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=80))


@given(arrays.arrays(np.uint8, (6, 7), elements=st.sampled_from([0, 3, 18, VOID])))
def test_shares_are_fractions_of_the_map(labels: np.ndarray) -> None:
    found = share(labels)
    assert all(found[c] == pytest.approx((labels == c).mean()) for c in found)
    assert found.keys() == set(np.unique(labels).tolist()) - {VOID}


@given(masks, st.integers(1, 4), st.integers(0, 3))
def test_the_nearest_row_is_the_lowest_that_a_thing_covers(things: np.ndarray, scale: int, more: int) -> None:
    height, width = things.shape
    source = width, height * scale + more
    found = nearest(things, source)
    assert len(found) == PARTS
    for part, row in enumerate(found):
        columns = [x for x in range(width) if x * PARTS // width == part]
        rows = [y for y in range(height) for x in columns if things[y, x]]
        if not rows:
            assert row is None
        else:
            assert row is not None
            # In whole numbers: the map row ends within this source row, or where it ends.
            assert row * height < (max(rows) + 1) * source[1] <= (row + 1) * height
            assert 0 <= row < source[1]


def test_the_drivable_polygon_is_the_largest_road_in_source_pixels() -> None:
    road = np.zeros((36, 64), np.bool_)
    road[20:36, 10:50] = True
    road[2:5, 2:5] = True  # a smaller patch
    source: Size = (1280, 720)
    polygon = drivable(road, source)
    xs, ys = zip(*polygon)
    assert (min(xs), max(xs)) == (10 * 20 + 9.5, 49 * 20 + 9.5)
    assert (min(ys), max(ys)) == (20 * 20 + 9.5, 35 * 20 + 9.5)
    assert len(polygon) == 4


def test_no_road_is_no_polygon() -> None:
    assert drivable(np.zeros((36, 64), np.bool_), (1280, 720)) == ()
    speck = np.zeros((360, 640), np.bool_)
    speck[5:7, 5:7] = True
    assert drivable(speck, (1280, 720)) == ()


def test_a_scene_gets_its_digest_while_it_is_wanted() -> None:
    wanted = iter([True, False])
    first, second = digests(CITYSCAPES, wanted=lambda _: next(wanted))([make_scene(0), make_scene(1)])
    assert first.digest is not None
    assert second.digest is None
    assert sum(first.digest.share.values()) == pytest.approx(1 - 1 / (64 * 32))  # one pixel is void
    assert first.digest.drivable
    content = content_of("summary", first, "tcp")
    assert content is not None
    assert content.parts == ()
    assert content.fields["size"] == (64, 32)
    assert content_of("summary", second, "tcp") is None
    # The car stands in columns 4..12 of 64 and rows 8..24 of 32, the source is twice as large.
    assert list(first.digest.nearest[2:6]) == [47, 47, 47, 47]
    assert first.digest.nearest[0] is None
