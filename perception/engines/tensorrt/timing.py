"""The time of a compiled network alone, without copies: CUDA events around runs from a graph."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from perception.engines.contract import INPUT
from perception.engines.tensorrt.device import Device
from perception.engines.tensorrt.network import Network
from perception.errors import EngineError

WARM_UP = 20


def time_network(network: Network, device: Device, shape: tuple[int, int, int, int], rounds: int) -> float:
    """Milliseconds a batch of shape (N, H, W, 3), the mean of ``rounds`` runs one after the other.

    The frames are whatever lies in the device's memory: the time does not depend on them. Raises EngineError.
    """
    pointers: list[int] = []
    stream, started, ended = device.stream(), device.event(), device.event()
    graph = None
    try:
        context = network.context(shape)
        sizes = {INPUT: int(np.prod(shape))}
        sizes |= {name: int(np.prod(out)) * dtype.itemsize for name, (out, dtype) in context.outputs.items()}
        for name, size in sizes.items():
            pointers.append(device.allocate(size))
            context.bind(name, pointers[-1])
        context.enqueue(stream)
        device.record(ended, stream)
        device.wait(ended)
        device.begin_capture(stream)
        context.enqueue(stream)
        graph = device.end_capture(stream)
        for runs in (WARM_UP, rounds):
            device.record(started, stream)
            for _ in range(runs):
                device.launch_graph(graph, stream)
            device.record(ended, stream)
            device.wait(ended)
        return device.elapsed_ms(started, ended) / rounds
    finally:
        for pointer in pointers:
            with suppress(EngineError):
                device.free(pointer)
        device.destroy(streams=(stream,), events=(started, ended), graphs=() if graph is None else (graph,))
