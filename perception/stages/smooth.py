"""Smooth: labels carried from frame to frame along the motion of the picture, so that they flicker less."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from perception.pipeline import Stage
from perception.stages.prepare import prepare
from perception.stages.refine import relabelled
from perception.types import VOID, CaptureTime, Image, LabelMap, Scene, Segmentation

KEPT = 0.7  # of the trust in a label, from one frame to the next of 15 a second
MOST_TRUST = 1.0  # so one confident frame outvotes any past
REFERENCE_STEP_S = 1 / 15
LONGEST_STEP_S = 0.5  # between two frames; after a longer one nothing is carried
FLOW_SIDE = 240  # pixels of the longer side at which motion is looked for
LEAST_FLOW_SIDE = 32  # of the shorter one: OpenCV's DIS ends the process at wide pictures of fewer rows
FINEST_SCALE = 2  # halvings, as in the preset: OpenCV takes fewer for a small picture, and for all that come after it
ALIKE = 16.0  # grey levels that a point may change on its way; more is an occlusion, or wrong
CUT = 0.6  # a smaller share of points that are found again is another scene
UNSAID = 0.9  # confidence of a model that gives none

Trust = npt.NDArray[np.float32]  # (h, w), 0..MOST_TRUST


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """What a stream's last frame left behind."""

    time: CaptureTime
    model: int
    grey: Image  # (H, W) u8, at which motion is looked for
    labels: LabelMap  # (h, w)
    trust: Trust


def smoothed() -> Stage:
    """The stage that lets the past of each stream vote about its labels.

    A label is carried along dense optical flow (Kroeger et al. 2016, DIS) with the trust that it has gathered. Where
    the new frame says the same, trust grows; where it says another, the more trusted of the two stays and loses
    what the other had (Boyer and Moore 1981, their majority vote). Nothing is carried where the picture does not look
    as it should, after a cut, a gap, a step back in time, a frame without labels, or a change of size or model; and
    trust is bounded, so that a confident frame is believed at once.
    """

    def stage(scenes: Iterable[Scene]) -> Iterator[Scene]:
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        memories: dict[str, Memory] = {}
        for scene in scenes:
            found, name = scene.segmentation, scene.frame.stream
            if found is None:
                memories.pop(name, None)
                yield scene
                continue
            before, now = memories.get(name), _begun(scene, found)
            voted = found
            if before is not None and _follows(before, now):
                voted, now = _vote(flow, before, now, found)
            memories[name] = now
            yield replace(scene, segmentation=voted).lap("smooth")

    return stage


def seconds_between(before: CaptureTime, now: CaptureTime) -> float:
    """From one capture to the next, on the clock that orders the content; negative for a step back."""
    if now.clock != "wall" and before.media_ns is not None and now.media_ns is not None:
        return (now.media_ns - before.media_ns) / 1e9
    return (now.captured_mono_ns - before.captured_mono_ns) / 1e9


def _begun(scene: Scene, found: Segmentation) -> Memory:
    """What a frame leaves behind that nothing came before."""
    height, width = found.labels.shape
    scale = min(1.0, FLOW_SIDE / max(height, width))
    size = max(LEAST_FLOW_SIDE, round(width * scale)), max(LEAST_FLOW_SIDE, round(height * scale))
    grey = np.asarray(cv2.cvtColor(prepare(scene.frame.image, size), cv2.COLOR_BGR2GRAY), np.uint8)
    trust = np.full((height, width), UNSAID, np.float32)
    if found.confidence is not None:
        trust = found.confidence * np.float32(1 / 255)
    return Memory(scene.frame.time, scene.model, grey, found.labels, trust)


def _follows(before: Memory, now: Memory) -> bool:
    alike = before.model == now.model and before.labels.shape == now.labels.shape
    return alike and 0 < seconds_between(before.time, now.time) <= LONGEST_STEP_S


def _vote(flow: cv2.DISOpticalFlow, before: Memory, now: Memory, found: Segmentation) -> tuple[Segmentation, Memory]:
    """The maps after the past has voted, and what they leave behind."""
    carried = _carried(flow, before, now)
    if carried is None:
        return found, now
    labels, trust = carried
    trust = trust * np.float32(KEPT ** (seconds_between(before.time, now.time) / REFERENCE_STEP_S))
    trust[(labels == VOID) | (now.labels == VOID)] = 0
    same = labels == now.labels
    stays = ~same & (trust > now.trust)
    voted = np.where(stays, labels, now.labels)
    left = np.where(same, np.minimum(now.trust + trust, MOST_TRUST), np.abs(now.trust - trust))
    confidence = found.confidence
    if confidence is not None:
        # Of a label that stays against the network's word: its share of the votes.
        share = trust[stays] / (trust[stays] + now.trust[stays])
        confidence = confidence.copy()
        confidence[stays] = np.rint(255 * share)
    after = relabelled(found, Segmentation(voted, confidence))
    return after, replace(now, labels=voted, trust=left)


def _carried(flow: cv2.DISOpticalFlow, before: Memory, now: Memory) -> tuple[LabelMap, Trust] | None:
    """The labels and the trust of the last frame where they are in this one, 0 where that is not known; None: a cut."""
    flow.setFinestScale(FINEST_SCALE)
    back = flow.calc(now.grey, before.grey, np.zeros((*now.grey.shape, 2), np.float32))
    height, width = now.grey.shape
    x, y = back[..., 0] + _columns(height, width), back[..., 1] + _rows(height, width)
    then = cv2.remap(before.grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    found = (cv2.absdiff(then, now.grey) <= ALIKE) & inside
    if found.mean() < CUT:
        return None
    map_height, map_width = now.labels.shape
    scale = np.array([map_width / width, map_height / height], np.float32)
    motion = cv2.resize(back, (map_width, map_height), interpolation=cv2.INTER_LINEAR) * scale
    x, y = motion[..., 0] + _columns(map_height, map_width), motion[..., 1] + _rows(map_height, map_width)
    labels = cv2.remap(before.labels, x, y, cv2.INTER_NEAREST, borderValue=VOID)
    trust = cv2.remap(before.trust, x, y, cv2.INTER_NEAREST)
    known = cv2.resize(found.view(np.uint8), (map_width, map_height), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(labels, np.uint8), np.asarray(trust * known, np.float32)


def _columns(height: int, width: int) -> npt.NDArray[np.float32]:
    return np.broadcast_to(np.arange(width, dtype=np.float32), (height, width))


def _rows(height: int, width: int) -> npt.NDArray[np.float32]:
    return np.broadcast_to(np.arange(height, dtype=np.float32)[:, None], (height, width))
