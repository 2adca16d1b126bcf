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
import difflib
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from perception.cli import INTERRUPTED
from perception.errors import STORAGE_ERRORS, ConfigError, OutputError, RequestError, RoadcastError

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
    "mcap": ("MCAP", "record"),
    "zstandard": ("Zstandard", "record"),
    "mcap_protobuf": ("MCAP's protobuf support", "record"),
    "foxglove_schemas_protobuf": ("Foxglove's schemas", "record"),
    "aiohttp": ("aiohttp", "view"),
}


class Parser(argparse.ArgumentParser):
    """Reports wrong flags as every other error is reported, and takes no abbreviations that could change meaning."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})
        self._given: list[str] = []
        self._verbs: dict[str, Parser] = {}

    def add_verb(self, word: str, **kwargs: Any) -> Parser:
        """A parser for arguments that begin with this word, beside the positional arguments that this one takes."""
        self._verbs[word] = Parser(prog=f"{self.prog} {word}", **kwargs)
        return self._verbs[word]

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As in argparse, but an unknown flag raises ConfigError.

        argparse leaves those of a command to the outermost parser, which knows neither its name nor its flags.
        """
        self._given = list(sys.argv[1:] if args is None else args)
        if self._given and self._given[0] in self._verbs:
            return self._verbs[self._given[0]].parse_known_args(self._given[1:], namespace)
        found, unknown = super().parse_known_args(self._given, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError instead of printing the usage."""
        raise ConfigError(f"{message}.{self._hint()} See '{self.prog} --help'.")

    def _hint(self) -> str:
        """What the first flag that this parser does not have was probably meant to be."""
        if self._subparsers is not None:  # the flags of a command are in its own parser
            return ""
        known = self._option_string_actions.keys()
        flags = [word for word in self._given if word.startswith("-")]
        flag = next((word for word in flags if known.isdisjoint((word.partition("=")[0], word[:2]))), "")  # -oFILE
        if "." in flag and flag[1].isalpha():  # neither --flag=0.5 nor the number -0.5
            return f" A file whose name begins with '-' is written './{flag}'."
        close = difflib.get_close_matches(flag.partition("=")[0], known, n=1, cutoff=0.8)
        return f" Did you mean {close[0]!r}?" if close else ""


def dispatch(make_parser: Callable[[], Parser], argv: Sequence[str] | None) -> int:
    """Run one command and return its exit code; errors that are raised on purpose become one line."""
    _replace_closed_streams()
    try:
        code = _run(make_parser, argv)
    except RoadcastError as error:
        return _fail(error)
    except ModuleNotFoundError as error:
        if error.name not in EXTRA_MODULES:
            raise
        name, extra = EXTRA_MODULES[error.name]
        return _fail(RequestError(f"This needs {name}, which is not installed: pip install 'roadcast[{extra}]'."))
    except BrokenPipeError:
        _abandon_unwritten()
        return PIPE_CLOSED
    except OSError as error:
        if error.errno not in STORAGE_ERRORS:
            raise
        _abandon_unwritten()
        return _fail(OutputError(f"Cannot write the output: {os.strerror(error.errno or 0).lower()}."))
    except KeyboardInterrupt:
        return INTERRUPTED
    _abandon_unwritten()  # what a node could not say on a full disk
    return code


def _run(make_parser: Callable[[], Parser], argv: Sequence[str] | None) -> int:
    try:
        args = make_parser().parse_args(argv)
        return int(args.run(args))
    finally:  # also after --help, which leaves by SystemExit, and after an error: what was printed before must get out
        sys.stdout.flush()


def _replace_closed_streams() -> None:
    """Where a shell closed stdout or stderr (``>&-``), Python has None; what is written there shall just be lost."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115


def _abandon_unwritten() -> None:
    """Lose what could not be written: Python flushes once more at exit, which must not fail again."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)


def _fail(error: RoadcastError) -> int:
    from perception.sources.address import redact  # an address may stand where any other word should

    with suppress(OSError):  # a stderr on a full disk; the exit code still tells
        print(f"roadcast: error: {redact(str(error))}", file=sys.stderr)
    return error.exit_code
