"""Metrics as TensorBoard reads them, written without the help of a Keras backend."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from perception.errors import RequestError


class TensorBoardLog:
    """Loss, learning rate and every other number of a line of metrics, as scalars over epochs.

    Raises:
        RequestError: tensorboard is not installed.
    """

    def __init__(self, folder: Path, first_epoch: int) -> None:
        try:
            event_pb2 = import_module("tensorboard.compat.proto.event_pb2")
            summary_pb2 = import_module("tensorboard.compat.proto.summary_pb2")
            files = import_module("tensorboard.summary.writer.event_file_writer")
        except ModuleNotFoundError:
            raise RequestError("--tensorboard needs tensorboard: pip install 'roadcast[tensorboard]'.") from None
        self._event: Any = event_pb2.Event
        self._summary: Any = summary_pb2.Summary
        self._open: Any = partial(files.EventFileWriter, str(folder))
        self._writer: Any = None
        # What a run that is continued does again takes the place of what it did before.
        self._restart = event_pb2.Event(
            wall_time=time.time(),
            step=first_epoch,
            session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START),
        )

    def write(self, line: Mapping[str, Any]) -> None:
        """Write the numbers of one line of metrics."""
        if self._writer is None:
            self._writer = self._open()
            self._writer.add_event(self._restart)
        values = [
            self._summary.Value(tag=key.replace(" ", "/"), simple_value=float(value))
            for key, value in line.items()
            if isinstance(value, (int, float)) and key != "epoch"
        ]
        summary = self._summary(value=values)
        self._writer.add_event(self._event(wall_time=time.time(), step=line["epoch"], summary=summary))
        self._writer.flush()
