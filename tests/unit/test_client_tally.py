"""What a subscriber counts: gaps, restarts, and no more of it than there may be streams."""

from __future__ import annotations

from perception.client.joining import MAX_STREAMS
from perception.client.tally import Tally
from perception.wire.encode import Content, Sender, pack_message
from perception.wire.message import Message, decode

TIMES = {"published_ns": 1, "published_mono_ns": 1}
SESSION, OTHER_SESSION, BOOT = bytes(16), b"\1" * 16, bytes(8)
EVENT = Content("event", {"event": {"name": "recovered", "detail": {}}})


def event(stream: str, seq: int, session: bytes = SESSION) -> Message:
    return decode(pack_message(Sender(stream, session, BOOT), EVENT, seq=seq, time=TIMES))


def test_a_gap_in_the_numbers_of_a_topic_is_a_loss_and_a_new_session_is_none() -> None:
    tally = Tally()
    for message in (event("front", 3), event("rear", 9), event("front", 6), event("rear", 10)):
        tally.add(message)
    assert (tally.messages, tally.lost, tally.restarts) == (4, 2, 0)
    tally.add(event("front", 0, OTHER_SESSION))
    tally.add(event("front", 2, OTHER_SESSION))
    tally.add(event("rear", 12))
    assert (tally.lost, tally.restarts) == (4, 1)


def test_a_node_that_makes_names_up_does_not_fill_the_memory() -> None:
    tally = Tally()
    for number in range(5 * MAX_STREAMS):
        tally.add(event(f"made-up-{number}", 7))
    assert tally.messages == 5 * MAX_STREAMS
    assert (tally.lost, tally.restarts) == (0, 0)
    kept = [known for known in vars_of(tally).values() if isinstance(known, dict)]
    assert kept
    assert max(map(len, kept)) <= MAX_STREAMS
    tally.add(event(f"made-up-{5 * MAX_STREAMS - 1}", 9))  # of the newest ones it still knows where they were
    assert tally.lost == 1


def vars_of(tally: Tally) -> dict[str, object]:
    return {name: getattr(tally, name) for name in Tally.__slots__}
