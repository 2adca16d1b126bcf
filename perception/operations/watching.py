"""Everybody who is shown how a node fares, put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from perception.config import NodeConfig
from perception.operations.board import Board
from perception.operations.notify import Notifier
from perception.operations.server import serve
from perception.summary import Status


@contextmanager
def watched(config: NodeConfig, show: Callable[[Status], None]) -> Iterator[Callable[[Status], None]]:
    """While inside, what to call with every status: it feeds metrics and service manager, and calls ``show``.

    Raises:
        ConfigError, EndpointError: metrics cannot be served where the configuration says.
    """
    board = Board()
    notifier = Notifier(board)

    def show_all(status: Status) -> None:
        board.show(status)
        notifier.show(status)
        show(status)

    with ExitStack() as parts:
        parts.callback(notifier.close)
        if config.metrics is not None:
            parts.enter_context(serve(config.metrics, board))
        yield show_all
