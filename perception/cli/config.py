"""``roadcast config check`` and ``roadcast config show``: what a node would be told, and by whom."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from perception.cli.run import add_settings, given_settings
from perception.config import Layers, NodeConfig, Policy, read_layers
from perception.config.geometry import Calibration
from perception.config.layers import Setting
from perception.errors import ConfigError, RoadcastError
from perception.sources.address import redact

WIDEST_VALUE = 48  # characters; a longer value pushes its origin to the right
EPILOG = """\
Both take the flags of 'roadcast run' as well, and read the environment (ROADCAST_FRAMES=200) as it does.
Check also looks for the files that are named, and opens videos and pictures; cameras need not be there yet.
Exit codes of check: 0 nothing is wrong, 1 something is, 2 the file cannot be read."""


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``roadcast``."""
    parser = commands.add_parser("config", help="check a configuration, or show where each value comes from")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    for name, text, run in (
        ("check", "say everything that is wrong with a configuration", check),
        ("show", "show every setting of a node, and who gave it: default, file, environment or flag", show),
    ):
        verb = verbs.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        verb.add_argument(
            "file", metavar="FILE", nargs="?", help="TOML file with settings (default: the one in ROADCAST_CONFIG)"
        )
        verb.add_argument("--source", metavar="SOURCE", help="what to watch")
        add_settings(verb)
        verb.add_argument("--json", action="store_true", help="print one JSON object")
        verb.set_defaults(run=run)


def check(args: argparse.Namespace) -> int:
    """Print every problem; returns 1 if there is one. Raises ConfigError where the file cannot be read."""
    layers = _layers(args)
    sound = layers.sound()
    found = [*layers.problems, *(_not_there(sound) if sound else ())]
    problems = [redact(str(problem)) for problem in found]
    cameras = [] if problems else [redact(camera.source) for camera in layers.config().cameras]
    if args.json:
        print(json.dumps({"valid": not problems, "problems": problems, "sources": cameras}, indent=2))
    else:
        for problem in problems:
            print(problem)
        if not problems:
            print(f"Nothing is wrong with it: {', '.join(cameras)}.")
    return 1 if problems else 0


def _not_there(config: NodeConfig) -> Iterator[RoadcastError]:
    """What the settings name and this machine does not have. Cameras are not connected to: they may come later."""
    from perception.control.place import check_control
    from perception.engines.open import check_name
    from perception.engines.shipped import model_file, no_such_model
    from perception.stream import close_streams, open_stream

    try:
        check_name(config.engine)
    except RoadcastError as problem:
        yield problem
    if config.model is not None and not model_file(config.model).is_file():
        yield no_such_model(config.model)
    if config.enhance is not None:
        from perception.engines.enhancement import read_enhancement

        try:
            read_enhancement(config.enhance)
        except RoadcastError as problem:
            yield problem
    try:
        check_control(config, guarded=config.curve_secret is not None)
    except RoadcastError as problem:
        yield problem
    streams = []
    for camera in config.cameras:
        try:
            streams.append(open_stream(replace(camera, wait_for_camera=True), config))
        except RoadcastError as problem:
            yield problem
    close_streams(streams)
    yield from _disagreeing(config, [stream.source.live for stream in streams])


def _disagreeing(config: NodeConfig, live: Sequence[bool]) -> Iterator[RoadcastError]:
    """What is asked of cameras and only recordings can do, or the other way round."""
    from perception.choices import check_mixture, check_restart, choose_policy, choose_shedding

    if not live:
        return
    policy: Policy = "drop_oldest"
    try:
        policy = choose_policy(config, live=any(live))
    except RoadcastError as problem:
        yield problem
    for check_all in (
        lambda: check_mixture(config, live),
        lambda: check_restart(config, live=any(live)),
        lambda: choose_shedding(config, policy, live=any(live)),
    ):
        try:
            check_all()
        except RoadcastError as problem:
            yield problem


def show(args: argparse.Namespace) -> int:
    """Print every setting with its origin. Raises ConfigError for the first problem."""
    layers = _layers(args)
    layers.config()
    if args.json:
        tables = [_plain_table(camera) for camera in layers.cameras()]
        print(json.dumps({**_plain_table(layers.settings()), **({"camera": tables} if tables else {})}, indent=2))
        return 0
    print("\n".join(_lines(layers.settings())))
    for camera in layers.cameras():
        print("\n[[camera]]\n" + "\n".join(_lines(camera)))
    return 0


def _layers(args: argparse.Namespace) -> Layers:
    if args.file == "":
        raise ConfigError("The name of the configuration file is empty. Give that of a TOML file.")
    return read_layers(given_settings(args), file=args.file)


def _lines(settings: Mapping[str, Setting]) -> list[str]:
    shown = {name: _shown(setting.value) for name, setting in settings.items()}
    names, values = max(map(len, shown)), min(WIDEST_VALUE, max(map(len, shown.values())))
    return [f"{name:<{names}}  {text:<{values}}  {_origin(settings[name])}" for name, text in shown.items()]


def _shown(value: object) -> str:
    return "-" if value is None else json.dumps(_plain(value))


def _origin(setting: Setting) -> str:
    return "default" if setting.layer == "default" else f"{setting.layer} {setting.where}"


def _plain_table(settings: Mapping[str, Setting]) -> dict[str, object]:
    return {
        name: {"value": _plain(setting.value), "origin": setting.layer, "where": setting.where}
        for name, setting in settings.items()
    }


def _plain(value: object) -> object:
    """A value as JSON knows it, without credentials."""
    if isinstance(value, str):
        return redact(value)
    return asdict(value) if isinstance(value, Calibration) else value
