"""What the commands share: a parser that reports as everything else does, and one place where errors
become a sentence and an exit code.

0  fine; also a run that Ctrl-C or SIGTERM ended in order
1  a finding: an audit, a verification or a comparison found something
2  what was asked for cannot be done
3  something outside failed
130  cut off at once by a second Ctrl-C        141  whoever read the output went away
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from perception.errors import ConfigError, RequestError, RoadcastError

INTERRUPTED = 130
PIPE_CLOSED = 141
# Modules that an extra brings: what they are called, and the extra.
EXTRA_MODULES = {
    "cv2": ("OpenCV", "node"),
    "av": ("PyAV", "node"),
    "onnxruntime": ("ONNX Runtime", "node"),
    "tomli": ("tomli", "node"),
    "keras": ("Keras", "train"),
    "tensorflow": ("TensorFlow", "train"),
    "onnx": ("ONNX", "train"),
}


class Parser(argparse.ArgumentParser):
    """Reports wrong flags as every other error is reported, and takes no abbreviations that could change meaning."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError instead of printing the usage."""
        raise ConfigError(f"{message}. See '{self.prog} --help'.")


def dispatch(make_parser: Callable[[], Parser], argv: Sequence[str] | None) -> int:
    """Run one command and return its exit code; errors that are raised on purpose become one line."""
    try:
        args = make_parser().parse_args(argv)
        code = int(args.run(args))
        sys.stdout.flush()
    except RoadcastError as error:
        return _fail(error)
    except ModuleNotFoundError as error:
        if error.name not in EXTRA_MODULES:
            raise
        name, extra = EXTRA_MODULES[error.name]
        return _fail(RequestError(f"This needs {name}, which is not installed: pip install 'roadcast[{extra}]'."))
    except BrokenPipeError:
        # Python flushes stdout once more at exit, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _fail(error: RoadcastError) -> int:
    print(f"roadcast: error: {error}", file=sys.stderr)
    return error.exit_code
