"""``roadcast-train restore``: teach a network to give a better picture back."""

from __future__ import annotations

import argparse
from typing import Any

from perception.config.layers import flag_of
from training.cli.quiet import load_keras
from training.cli.texts import read_fact, score_names
from training.restoration.settings import RULES, load_settings

EPILOG = """\
A recipe is a TOML file whose keys are the settings without '--'; launch/recipes holds denoise, lowlight and superres.
Settings may also stand in the environment, as ROADCAST_RESTORE_EPOCHS=5; flags win over the environment, and that
over the recipe. Labels are not needed: any of the data sets will do, with its labels or without.
The run's model.onnx runs in a node: roadcast run SOURCE --enhance runs/denoise/model.onnx.
A run that was stopped, or killed, goes on when the same command is given again with --resume."""
# What each flag is for; what it may be is written in the rules of training.restoration.settings.
FLAGS = {
    "out": ("DIR", "folder of the run"),
    "data": ("KIND:DIR[:SPLIT][=WEIGHT]", "frames to learn from, repeatable; kinds are in docs/data.md"),
    "score": ("KIND:DIR[:SPLIT]", "frames to score on as the run goes, repeatable"),
    "id": ("NAME", "name of the model (default: restored)"),
    "network": ("NAME", f"{RULES['network'].wanted} (default: denoise)"),
    "latent": ("N", "numbers, or channels, in the narrow place of conv and dense (default: 64)"),
    "up": ("NAME", f"{RULES['up'].wanted}: how conv enlarges (default: resize)"),
    "degrade": (
        "KIND",
        "how inputs are spoilt: gaussian, shot, jpeg, rain, lowlight, dark or blur, repeatable; else they are not",
    ),
    "loss": ("NAME", f"{RULES['loss'].wanted} (default: l1)"),
    "initial_weights": (
        "MODEL.keras",
        "a model of the same network to start from, for lowlight also a segmentation network",
    ),
    "segmenter": ("MODEL.keras", "a segmentation network that is to see the same in the picture as in the truth"),
    "segmenter_weight": ("X", "weight of that term (default: 10)"),
    "crop": ("WxH", "size of the pieces that are learnt from (default: 160x160)"),
    "epochs": ("N", "epochs, each followed by a line of metrics (default: 20)"),
    "steps": ("N", "batches an epoch (default: 100)"),
    "batch": ("N", "pieces a batch (default: 8)"),
    "rate": ("X", "highest learning rate (default: 0.002)"),
    "decay": ("X", "weight decay (default: 0.0001)"),
    "ema": ("X", "momentum of the averaged weights, which are scored and saved (default: 0.99)"),
    "precision": ("NAME", f"{RULES['precision'].wanted} (default: float32)"),
    "workers": ("N", "processes that prepare batches (default: 1)"),
    "seed": ("N", "of everything that is drawn (default: 1)"),
    "evaluate_every": ("N", "epochs between two checkpoints, each scored (default: 5)"),
}


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``roadcast-train``."""
    parser = commands.add_parser(
        "restore",
        help="train a network that gives a better picture back",
        description="Train a denoiser, a brightener, a super-resolution network or an autoencoder, and leave a folder "
        "with the model, its ONNX file, its metrics and a report.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", nargs="?", metavar="RECIPE.toml", help="settings to start from")
    for name, (metavar, text) in FLAGS.items():
        action = "append" if name in ("data", "score", "degrade") else "store"
        parser.add_argument(flag_of(name), dest=name, action=action, metavar=metavar, help=text)
    parser.add_argument(
        "--fact", action="append", default=[], metavar="KEY=TEXT", help="a line of the model's card: data, licence ..."
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train to the end; returns the exit code."""
    flags = {name: given for name in RULES if (given := getattr(args, name)) is not None}
    config = load_settings(flags, file=args.recipe)
    facts = dict(read_fact(text) for text in args.fact)
    from training.data.datasets import open_dataset
    from training.restoration.samples import open_pictures, task_of

    task = task_of(config.degrade, config.factor)
    pictures = open_pictures(config.data)
    names = score_names(config.score)
    held_out = {name: open_dataset(text, labelled=False) for text, name in names.items()}
    load_keras()
    from training.restoration.album import SCORED, PictureAlbum, score_restorer, spread
    from training.restoration.fit import restore
    from training.restoration.restorer import keras_restorer

    def score(model: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, pairs in held_out.items():
            scores = score_restorer(keras_restorer(model), spread(pairs, SCORED), task)
            found |= {f"{name} {key}": value for key, value in scores.items()}
        return found

    shown = next(iter(held_out.values()), list(pictures.parts[0]))
    album = PictureAlbum(config.out, shown, task)
    path = restore(config, pictures, score, album=album, facts=facts, resume=args.resume)
    print(f"wrote {path} and {config.out / 'report.html'}")
    return 0
