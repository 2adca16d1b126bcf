"""One self-contained page about a run, made of the files in its folder: nothing is loaded from elsewhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from perception.errors import ConfigError, SourceError
from perception.files import write_whole

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1d2328;background:#fff;max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin:2rem 0 .5rem;border-bottom:1px solid #d5dbe0}
img{max-width:100%;height:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:.15rem .9rem .15rem 0;text-align:left;vertical-align:top}th{font-weight:600}.n{text-align:right}
.bar{background:#e6eaee;width:12rem;height:.7rem;border-radius:2px}.bar i{display:block;height:100%;background:#3a76b0}
code{background:#f2f4f6;padding:.1rem .3rem;border-radius:3px;overflow-wrap:anywhere}.muted{color:#66717a}
.columns{display:flex;flex-wrap:wrap;gap:0 3rem}
"""
_SCORES = ("IoU", "PSNR", "SSIM", "AP", "AP50", "told apart")  # how the keys of scores end


def write_report(folder: Path) -> Path:
    """Write ``report.html`` from the configuration, metrics and pictures in a run's folder; return its path.

    Raises:
        ConfigError: there is no run in the folder, or its files are damaged.
        OutputError: the page cannot be written.
    """
    config, starts = _read(folder / "config.json"), []
    if (folder / "starts.json").exists():
        starts = _read(folder / "starts.json")["starts"]
    lines = read_metrics(folder)
    path = folder / "report.html"
    write_whole(path, _page(folder, config, starts, lines))
    return path


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics. Raises ConfigError where there are none, or they are damaged."""
    path = folder / "metrics.jsonl"
    try:
        return [json.loads(line) for line in _text(path).splitlines()]
    except ValueError as error:
        raise ConfigError(f"{path} is damaged: {error}.") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_text(path))
    except ValueError as error:
        raise ConfigError(f"{path} is damaged: {error}.") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is damaged: it holds no table.")
    return content


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            raise SourceError(f"Cannot read {path}: {error.strerror}.") from None
        found = "holds no such file" if path.parent.is_dir() else "is no folder"
        raise ConfigError(
            f"{path.parent} is not the folder of a run, which has a {path.name}: it {found}. Give the --out of "
            "`roadcast-train fit` or `restore`."
        ) from None


def _page(
    folder: Path, config: Mapping[str, Any], starts: Sequence[Mapping[str, Any]], lines: Sequence[Mapping[str, Any]]
) -> str:
    name = folder.resolve().name
    parts = [
        f"<h1>{escape(name)}</h1>",
        f"<p class=muted>{escape(_state(config, lines))}</p>",
        _picture(folder / "curves.png", "Curves", "loss, learning rate and scores over epochs"),
        _scores(lines),
        _picture(folder / "predictions.png", "Predictions", "frames, their labels and the predictions"),
        '<div class="columns">',
        _table("Data", _data_rows(config.get("data", []))),
        _table("Settings", ((k, _plain(v)) for k, v in config.items() if k != "data")),
        "</div>",
        *(_start(start) for start in starts),
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(name)}</title>'
    return f'<!doctype html>\n<html lang="en"><head>{head}<style>{_STYLE}</style></head>\n<body>\n' + (
        "\n".join(part for part in parts if part) + "\n</body></html>\n"
    )


def _state(config: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> str:
    if not lines:
        return "no epoch is finished yet"
    last = lines[-1]
    scores = "".join(f", {k} {v}" for k, v in _last_scores(lines).items() if isinstance(v, (int, float)))
    return f"epoch {last['epoch']} of {config.get('epochs', '?')}: loss {last['loss']:.4f}{scores}"


def _last_scores(lines: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The scores of the last line that has any."""
    scored = [line for line in lines if any(key.endswith(_SCORES) for key in line)]
    return {k: v for k, v in scored[-1].items() if k.endswith(_SCORES)} if scored else {}


def _scores(lines: Sequence[Mapping[str, Any]]) -> str:
    tables = []
    for key, value in _last_scores(lines).items():
        if not isinstance(value, Mapping):
            continue
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td class=n>{iou:.3f}</td>"
            f'<td><div class="bar"><i style="width:{100 * iou:.1f}%"></i></div></td></tr>'
            for name, iou in value.items()
            if iou is not None
        )
        tables.append(f"<div><h2>{escape(key)} by class</h2><table>{rows}</table></div>")
    return f'<div class="columns">{"".join(tables)}</div>' if tables else ""


def _data_rows(parts: Sequence[Mapping[str, Any]]) -> Iterable[tuple[str, str]]:
    total = sum(part["weight"] for part in parts) or 1
    for part in parts:
        yield part["kind"], f"{part['images']} images, {100 * part['weight'] / total:.0f} % of the samples"


def _start(start: Mapping[str, Any]) -> str:
    rows = [
        ("command", f"<code>{escape(start['command'])}</code>"),
        ("from epoch", escape(str(start["first_epoch"]))),
        ("commit", escape(start["commit"] or "unknown")),
        ("backend", escape(start["backend"])),
        ("versions", escape(", ".join(f"{k} {v}" for k, v in start["versions"].items()))),
        ("machine", escape(", ".join(f"{k} {v}" for k, v in start["machine"].items()))),
    ]
    cells = "".join(f"<tr><th>{key}</th><td>{value}</td></tr>" for key, value in rows)
    return f"<h2>Started {escape(start['started'])}</h2><table>{cells}</table>"


def _table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th>{escape(key)}</th><td>{escape(value)}</td></tr>" for key, value in rows)
    return f"<div><h2>{title}</h2><table>{cells}</table></div>"


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return "x".join(map(str, value))
    return "-" if value is None else str(value)


def _picture(path: Path, title: str, alt: str) -> str:
    if not path.exists():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<h2>{title}</h2><img alt="{alt}" src="data:image/png;base64,{data}">'
