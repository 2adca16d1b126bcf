"""Hostile bytes: mutated messages for the decoder, and whatever one can throw at the sockets.

    python benchmarks/fuzz.py [--decoder 1000000] [--sockets 100000] [--seed 0]
    python benchmarks/fuzz.py --coverage 1000000 [--target decoder|control|control-socket]

The second form is guided by coverage (needs atheris): the decoder, the parser of requests to a node, or a node's own
control socket.

Anything but an answer or the one typed error ends it with a traceback and the message in hex. Memory is read after a
tenth of the work and at the end. The mutations start from the conformance vectors in ``tests/vectors``.
"""

from __future__ import annotations

import argparse
import random
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgpack
from guided import TARGETS, guided, guided_control
from hostile import attack_metrics, attack_node, attack_subscriber
from hostile_control import attack_control

from perception.errors import WireError
from perception.metrics import resident_mb
from perception.terminal import StatusLine
from perception.wire import decode

VECTORS = Path(__file__).parent.parent / "tests" / "vectors"
VALUES = (
    None,
    True,
    -1,
    0,
    1.5,
    float("nan"),
    2**63,
    -(2**63),
    "",
    "a" * 300,
    b"",
    b"\x00" * 16,
    [],
    [[]] * 9,
    {},
    {1: 2},
)
Frames = list[bytes]


def main() -> None:
    """Fuzz what was asked for, and print what became of it."""
    parser = argparse.ArgumentParser(description="Throw hostile bytes at the decoder and at the sockets.")
    parser.add_argument("--decoder", type=int, default=1_000_000, metavar="N", help="messages for the decoder")
    parser.add_argument(
        "--sockets", type=int, default=100_000, metavar="N", help="messages for the sockets, all together"
    )
    parser.add_argument("--control", type=int, metavar="N", help="messages for the control socket (default: its share)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--coverage", type=int, metavar="N", help="one target alone, N runs guided by coverage")
    parser.add_argument("--target", choices=TARGETS, default="decoder", help="of --coverage (default: decoder)")
    args = parser.parse_args()
    if args.coverage is not None:
        cover(args.target, args.coverage)
    corpus = [unpack(path.read_bytes()) for path in sorted(VECTORS.glob("*.bin"))]
    chance = random.Random(args.seed)
    report("decoder", args.decoder, lambda: read_all(mutated(corpus, chance)))
    share = args.sockets // 5
    # One after another, each begun when its turn comes: the film of the node with a control socket has an end.
    with attack_node(chance, guarded=False) as attack:
        report("node", share, attack)
    with attack_node(chance, guarded=True) as attack:
        report("node with keys", share, attack)
    with attack_subscriber(lambda: mutated(corpus, chance)) as attack:
        report("subscriber", share, attack)
    with attack_metrics(chance) as attack:
        report("metrics", share, attack)
    with attack_control(chance) as attack:
        report("control", share if args.control is None else args.control, attack)


def cover(target: str, runs: int) -> None:
    """Fuzz one target guided by coverage. Does not return."""
    if target == "decoder":
        guided(runs, lambda packed: read_all(unpack(packed)) and None, VECTORS)
    guided_control(runs, live=target == "control-socket")


def report(name: str, count: int, attack: Callable[[], bool]) -> None:
    """Attack so often, and print how many attacks were taken for something, and what they cost in memory."""
    line = StatusLine(sys.stderr)
    taken, began, early = 0, time.monotonic(), resident_mb()
    for done in range(count):
        taken += attack()
        if done == count // 10:
            early = resident_mb()
        if not done % 256:
            line.show(f"{name}: {done} of {count}")
    line.clear()
    spent, grown = time.monotonic() - began, (resident_mb() or 0.0) - (early or 0.0)
    print(f"{name}: {count} messages in {spent:.1f} s, {taken} accepted, no crash; memory grew by {grown:.1f} MB")


def unpack(packed: bytes) -> Frames:
    """The parts of a stored message: each after its length as u4, as far as there are bytes."""
    frames, at = [], 0
    while at + 4 <= len(packed):
        size = struct.unpack_from("<I", packed, at)[0]
        frames.append(packed[at + 4 : at + 4 + size])
        at += 4 + size
    return frames


def read_all(frames: Frames) -> bool:
    """Decode a message and all that is in it; whether it was one. Anything but that and WireError is raised."""
    try:
        message = decode(frames)
        for part in message.header.parts:
            if part.codec != "jpeg":
                message.array(part.name)
        for object_id in [] if message.objects is None else message.objects.ids.tolist():
            message.mask(object_id)
    except WireError:
        return False
    except BaseException:
        print("broken by:", [frame.hex() for frame in frames], file=sys.stderr)
        raise
    return True


def mutated(corpus: list[Frames], chance: random.Random) -> Frames:
    """A stored message after one to four changes; its header changes as bytes or as a map."""
    frames = list(chance.choice(corpus))
    for _ in range(chance.randint(1, 4)):
        change = chance.choice((flip, cut, insert, splice, edit, edit, shuffle))
        frames = change(frames, corpus, chance)
    return frames


def flip(frames: Frames, corpus: list[Frames], chance: random.Random) -> Frames:  # noqa: ARG001
    """One byte another."""
    at = chance.randrange(len(frames) or 1)
    if at < len(frames) and frames[at]:
        changed = bytearray(frames[at])
        changed[chance.randrange(len(changed))] = chance.randrange(256)
        frames[at] = bytes(changed)
    return frames


def cut(frames: Frames, corpus: list[Frames], chance: random.Random) -> Frames:  # noqa: ARG001
    """The end of a part is missing, or whole parts are."""
    if not frames or chance.random() < 0.2:
        return frames[: chance.randint(0, len(frames))]
    at = chance.randrange(len(frames))
    frames[at] = frames[at][: chance.randint(0, len(frames[at]))]
    return frames


def insert(frames: Frames, corpus: list[Frames], chance: random.Random) -> Frames:  # noqa: ARG001
    """Random bytes somewhere in a part, or as a part of their own."""
    noise = chance.randbytes(chance.choice((1, 4, 64)))
    if not frames or chance.random() < 0.2:
        return [*frames, noise]
    at = chance.randrange(len(frames))
    where = chance.randint(0, len(frames[at]))
    frames[at] = frames[at][:where] + noise + frames[at][where:]
    return frames


def splice(frames: Frames, corpus: list[Frames], chance: random.Random) -> Frames:
    """The first parts of one message, the others of another."""
    other = chance.choice(corpus)
    at = chance.randint(0, min(len(frames), len(other)))
    return [*frames[:at], *other[at:]]


def shuffle(frames: Frames, corpus: list[Frames], chance: random.Random) -> Frames:  # noqa: ARG001
    """The parts behind the header in another order."""
    rest = frames[2:]
    chance.shuffle(rest)
    return [*frames[:2], *rest]


def edit(frames: Frames, corpus: list[Frames], chance: random.Random) -> Frames:  # noqa: ARG001
    """One value of the header, at any depth, of another type, out of range or away."""
    if len(frames) < 2:
        return frames
    try:
        header = msgpack.unpackb(frames[1], strict_map_key=False)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException):
        return frames
    at, below = None, header
    while isinstance(below, (dict, list)) and below and (at is None or chance.random() < 0.7):
        at = below
        key = chance.choice(list(at) if isinstance(at, dict) else range(len(at)))
        below = at[key]
    if at is None:
        return frames
    if chance.random() < 0.2:
        del at[key]
    elif isinstance(below, int) and chance.random() < 0.5:
        at[key] = max(-(2**63), min(2**64 - 1, below + chance.choice((-1, 1, 2**16, 2**32, -(2**31)))))
    else:
        at[key] = chance.choice(VALUES)
    return [frames[0], msgpack.packb(header), *frames[2:]]


if __name__ == "__main__":
    main()
