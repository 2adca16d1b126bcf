"""Shots of a running node, received over its socket."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice

import numpy as np

from perception.classes import CITYSCAPES
from perception.client import ObjectTable, ReceivedScene, Subscriber, Tally
from perception.errors import WireError
from perception.geometry import Affine, resize_affine
from perception.types import IdMap, Image, Instances
from perception.view.picture import Picture, chain
from perception.view.shots import Feed, Shot, footage_time
from perception.wire.curve import ClientKeys

KINDS = ("image", "labels", "objects")


def shots_of_endpoint(
    endpoint: str, *, stream: str, frames: int | None, timeout_s: float, keys: ClientKeys | None = None
) -> Feed:
    """Subscribe to a node and join the image, labels and objects of every frame.

    The iterator ends with the stream or after ``frames``; it raises Timeout where nothing arrives for
    ``timeout_s`` seconds.

    Raises:
        ConfigError: a malformed endpoint or stream.
        EndpointError: the endpoint cannot be connected to.
    """
    subscriber = Subscriber(endpoint, streams=(stream,), kinds=KINDS, timeout=timeout_s, keys=keys)

    def shots() -> Generator[Shot, None, None]:
        dropped, broken, last = 0, 0, None
        with closing(subscriber):
            for scene in islice(_scenes(subscriber), frames):
                feed.table = subscriber.classes or CITYSCAPES
                if last is not None:
                    dropped += max(0, scene.number - last - 1)
                last = scene.number
                try:
                    shot = _shot(scene, subscriber.age_ms(scene), dropped)
                except WireError:  # found where its arrays were decoded
                    broken += 1
                    dropped += 1
                    continue
                yield shot
                feed.notes[:] = _notes(subscriber.tally, broken)
            feed.notes[:] = _notes(subscriber.tally, broken)

    running = shots()

    def close() -> None:
        running.close()
        subscriber.close()

    feed = Feed(running, endpoint, close, expected=frames)
    return feed


def picture_of(scene: ReceivedScene, image: Image | None = None) -> Picture:
    """A received frame, over ``image`` or the one that came with it; where there is none, its maps lie on black.

    Raises:
        WireError: a part is not what its header promises.
    """
    width, height = scene.info.source_size
    if image is None:
        image = scene.image
    if image is None:
        image = np.zeros((height, width, 3), np.uint8)
    labels, table = scene.labels, scene.objects
    objects = None if table is None else _instances(scene, table)
    return Picture(
        image,
        labels,
        None if labels is None else _to_image(scene, "labels", image),
        objects,
        None if objects is None else _to_image(scene, "objects", image),
    )


def _scenes(subscriber: Subscriber) -> Iterator[ReceivedScene]:
    while True:
        try:
            yield from subscriber.scenes()
        except WireError:  # the subscriber counts it, and the report says so; one bad message ends no film
            continue
        return


def _shot(scene: ReceivedScene, age_ms: float, dropped: int) -> Shot:
    times = scene.header.time
    captured_ns = times.captured_ns or times.published_ns
    time_ns = footage_time(times.clock or "wall", captured_ns, times.media_ns, scene.number)
    return Shot(picture_of(scene), scene.stream, scene.number, time_ns, time.monotonic_ns(), age_ms, dropped)


def _to_image(scene: ReceivedScene, kind: str, image: Image) -> Affine:
    """From map pixels to those of the image, which a node may send smaller than its camera's frame."""
    frame = scene.messages[kind].header.frame
    assert frame is not None  # only frame kinds are joined
    size = image.shape[1], image.shape[0]
    return chain(resize_affine(frame.source_size, size), frame.to_source)


def _instances(scene: ReceivedScene, table: ObjectTable) -> Instances:
    tracks = np.array([-1 if track is None else track for track in table.tracks], np.int64)
    ids = scene.ids
    return Instances(
        table.class_ids,
        table.scores,
        table.boxes,
        table.areas.astype(np.int32),
        ids=None if ids is None else _renumbered(ids, table),
        masks=None if ids is not None else _crops(scene, table),
        tracks=tracks,
    )


def _renumbered(ids: IdMap, table: ObjectTable) -> IdMap:
    """Object k as k + 1: on the wire, ids may be any numbers."""
    count = len(table)
    if (table.ids == np.arange(1, count + 1)).all():
        return ids
    numbers = np.zeros(2**16, np.uint16)
    numbers[table.ids] = np.arange(1, count + 1)
    return numbers[ids]


def _crops(scene: ReceivedScene, table: ObjectTable) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.bool_]], ...]:
    boxes = table.boxes.tolist()
    return tuple(scene.mask(int(k))[y0:y1, x0:x1] for k, (x0, y0, x1, y1) in zip(table.ids, boxes))


def _notes(tally: Tally, broken: int) -> list[str]:
    counts = {
        "messages lost on the way": tally.lost,
        "broken messages": tally.rejected + broken,
        "restarts of the node": tally.restarts,
    }
    return [f"{count} {what}" for what, count in counts.items() if count]
