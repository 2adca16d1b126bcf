"""``roadcast keys gen``: makes CURVE keys; and the flags by which a client names its keys."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from perception.wire.curve import ClientKeys
from perception.wire.keys import generate, load_public

EPILOG = """\
    roadcast keys gen node -o /etc/roadcast               on the node's machine
    roadcast keys gen dash                                on each client's; give dash.key to the node's allow-list
    roadcast run 0 --publish tcp://0.0.0.0:5600 --curve-secret node.key_secret --allow clients/
    roadcast sub tcp://car:5600 --curve-server node.key --curve-secret dash.key_secret

Secret keys (NAME.key_secret, mode 0600) never leave their machine; public keys (NAME.key) may be given to anybody,
but by a way on which nobody can exchange them. Exit codes: 0 made, 2 refused, 3 the files cannot be written."""


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``roadcast``."""
    parser = commands.add_parser("keys", help="make keys for encrypted streams")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    gen = verbs.add_parser(
        "gen",
        help="make a pair of CURVE keys",
        description="Make a pair of CURVE keys: NAME.key, to give away, and NAME.key_secret. Nothing is overwritten.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    gen.add_argument("name", metavar="NAME", help="what the files are called: the name of a node or client")
    gen.add_argument("-o", "--out", metavar="DIR", default=".", help="where to put them (default: here)")
    gen.add_argument("--json", action="store_true", help="print one JSON object")
    gen.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the keys and say where they are. Raises ConfigError and OutputError."""
    public, secret = generate(args.name, Path(args.out))
    key = load_public(public).decode()
    if args.json:
        print(json.dumps({"public": str(public), "secret": str(secret), "public_key": key}))
    else:
        print(f"{public}  public key {key}\n{secret}  secret: it stays where it is, mode 0600")
    return 0


def add_client_flags(parser: Any) -> None:
    """Add the flags of a client of a node that asks for keys."""
    parser.add_argument("--curve-server", metavar="FILE", help="public key of the node, where it asks for keys")
    parser.add_argument("--curve-secret", metavar="FILE", help="secret key of this client")


def client_keys(args: argparse.Namespace) -> ClientKeys | None:
    """The keys that the flags name; None without them. Raises ConfigError for those that cannot be used."""
    return ClientKeys.load(args.curve_server, args.curve_secret)
