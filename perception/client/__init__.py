"""Receive what a node publishes. Needs numpy, msgpack and pyzmq, and no other part of roadcast.

    from perception.client import Subscriber

    with Subscriber("tcp://127.0.0.1:5600", kinds=["labels", "objects"]) as subscriber:
        for scene in subscriber.scenes():
            print(scene.number, scene.labels.shape, len(scene.objects), subscriber.tally.lost)

``for message in subscriber`` gives single messages as they come; ``latest(max_age_ms=...)`` the newest frame,
for whoever must not act on an old one. Errors are in :mod:`perception.errors`.
"""

from perception.client.scene import ReceivedScene
from perception.client.subscriber import Subscriber
from perception.client.tally import Tally
from perception.wire.message import Message
from perception.wire.objects import ObjectTable

__all__ = ["Message", "ObjectTable", "ReceivedScene", "Subscriber", "Tally"]
