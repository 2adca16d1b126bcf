"""``roadcast-train fit``: train a network."""

from __future__ import annotations

import argparse
from typing import Any

from perception.config.layers import flag_of
from perception.errors import ConfigError
from training.cli.quiet import load_keras
from training.cli.texts import score_names
from training.recipe import load_settings
from training.settings import RULES

EPILOG = """\
A recipe is a TOML file whose keys are the settings without '--', as epochs = 72; launch/recipes holds some.
Settings may also stand in the environment, as ROADCAST_TRAIN_EPOCHS=72; flags win over the environment, and that
over the recipe. '~' and $VARIABLES in paths and data sets are filled in.
A run that was stopped, or killed, goes on when the same command is given again with --resume."""
# What each flag is for; what it may be is written in the rules of training.settings.
FLAGS = {
    "out": ("DIR", "folder of the run"),
    "data": ("KIND:DIR[:SPLIT][=WEIGHT]", "training data, repeatable; kinds are in docs/data.md"),
    "score": ("KIND:DIR[:SPLIT]", "data to score on as the run goes, repeatable"),
    "network": ("NAME", f"{RULES['network'].wanted} (default: light)"),
    "width": ("small|medium|large", "size of the network (default: large)"),
    "encoder": ("NAME", "lite0, lite1 or lite2, of the network light (default: lite0)"),
    "encoder_weights": ("FILE", "ImageNet weights of the encoder; without them it starts from noise"),
    "initial_weights": ("MODEL.keras", "a model to start from instead; for an FCN also a coarser one's"),
    "head": (
        "centre|boundary|mask-rcnn",
        "train this, which tells objects apart, on initial_weights",
    ),
    "trunk": ("frozen|learns", "below a head: it stays as it is, or learns its labels on with it (default: frozen)"),
    "head_weight": ("X", "weight of the head's loss where the trunk learns too (default: 0.3)"),
    "epochs": ("N", "epochs, each followed by a line of metrics (default: 100)"),
    "steps": ("N", "batches an epoch (default: 50)"),
    "batch": ("N", "images a batch (default: 8)"),
    "crop": ("WxH", "size of the crops (default: 512x384)"),
    "rate": ("X", "highest learning rate (default: 0.002)"),
    "encoder_rate": ("X", "the encoder's rate, relative to that (default: 0.25)"),
    "decay": ("X", "weight decay (default: 0.05)"),
    "ema": ("X", "momentum of the averaged weights, which are scored and saved (default: 0.998)"),
    "hard_share": ("X", "share of the pixels, the hardest, that are learnt from (default: 0.35)"),
    "cross_entropy": ("X", "weight of the cross-entropy (default: 1)"),
    "dice": ("X", "weight of the Dice term (default: 0.2)"),
    "lovasz": ("X", "weight of the Lovasz term (default: 0)"),
    "weighting": ("NAME", f"class weights: {RULES['weighting'].wanted} (default: power)"),
    "weight_power": ("X", "with power, class weights are the inverse frequency to this power (default: 0.25)"),
    "border": ("X", "weight of pixels between objects that stand close together (default: 0)"),
    "border_sigma": ("PIXELS", "how far that reaches (default: 5)"),
    "teacher": ("MODEL.keras", "a model whose answers are learnt as well"),
    "teacher_weight": ("X", "weight of that term (default: 1)"),
    "temperature": ("X", "by which logits are divided for it (default: 2)"),
    "precision": ("NAME", f"{RULES['precision'].wanted} (default: float32)"),
    "devices": ("N", "GPUs of this machine to share each batch; without one, virtual CPU devices (default: 1)"),
    "workers": ("N", "processes that prepare batches (default: 2)"),
    "seed": ("N", "of everything that is drawn (default: 1)"),
    "evaluate_every": ("N", "epochs between two checkpoints, each scored (default: 5)"),
}


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``roadcast-train``."""
    parser = commands.add_parser(
        "fit",
        help="train a network",
        description="Train a network and leave a folder with the model, its metrics and a report.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", nargs="?", metavar="RECIPE.toml", help="settings to start from")
    for name, (metavar, text) in FLAGS.items():
        action = "append" if name in ("data", "score") else "store"
        parser.add_argument(flag_of(name), dest=name, action=action, metavar=metavar, help=text)
    parser.add_argument(
        "--tensorboard", action="store_const", const="true", help="write logs for TensorBoard into the run's folder"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train to the end; returns the exit code."""
    flags = {name: given for name in RULES if (given := getattr(args, name)) is not None}
    config = load_settings(flags, file=args.recipe)
    from training.data.datasets import open_dataset
    from training.data.instances import require_instances, tells_apart
    from training.data.mixture import open_mixture

    mixture = open_mixture(config.data)
    held_out = {name: open_dataset(text) for text, name in score_names(config.score).items()}
    if config.head != "none":
        for name, pairs in [*zip(config.data, mixture.parts), *held_out.items()]:
            if config.trunk == "frozen" or tells_apart(pairs):
                require_instances(name, pairs)
        if not any(tells_apart(pairs) for pairs in mixture.parts):
            raise ConfigError(f"The head {config.head!r} has nothing to learn from: no data set tells objects apart.")
    load_keras()
    from training.album import Album
    from training.evaluate import SCORE_PIXELS, evaluate, keras_predictor
    from training.fit import fit
    from training.objects import keras_finder, score_objects

    if config.head == "mask-rcnn":
        from training.mask_rcnn.score import DetectorAlbum, score_detector

        model = fit(config, mixture, score_detector(held_out), album=DetectorAlbum(config.out), resume=args.resume)
        print(f"wrote {model} and {config.out / 'report.html'}")
        return 0

    def score(model: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, pairs in held_out.items():
            if config.head != "none" and tells_apart(pairs):
                figures = score_objects(keras_finder(model, SCORE_PIXELS[pairs[0].kind]), pairs)
                found |= {f"{name} {figure}": value for figure, value in figures.items()}
            if config.head != "none" and config.trunk == "frozen":
                continue
            result = evaluate(keras_predictor(model, SCORE_PIXELS[pairs[0].kind]), pairs).to_json()
            found |= {f"{name} mIoU": result["mean_iou"], f"{name} IoU": result["iou"]}
        return found

    shown = next(
        list(pairs) for pairs in (*held_out.values(), *mixture.parts) if config.head == "none" or tells_apart(pairs)
    )
    model = fit(config, mixture, score, album=Album(config.out, shown), resume=args.resume)
    print(f"wrote {model} and {config.out / 'report.html'}")
    return 0
