"""A result as a person reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perception.bench.figures import QUANTILES
from perception.bench.result import Figures, look_up
from perception.bench.rounds import NODE

_RATIOS = {
    "node_to_bare_engine_fps": "of the bare engine's frames a second",
    "node_to_bare_decoding_fps": "of bare decoding's",
    "node_to_serial_loop_fps": "of the serial loop's",
}


def table(result: Mapping[str, Any]) -> str:
    """The medians of all rounds, with the spread of what matters most."""
    node = result["medians"][NODE]
    parts = [_heading(result), _contestants(result), _times(node), _facts(result, node)]
    parts.append("\n".join(f"warning: {warning}" for warning in result["load"]["warnings"]))
    return "\n\n".join(part for part in parts if part)


def _heading(result: Mapping[str, Any]) -> str:
    machine, settings, clip = result["machine"], result["settings"], result["clip"]
    rate = settings["rate"]
    pace = "at full speed" if rate is None else f"{rate:g} frames a second due, late or not (open loop)"
    rows = [
        ("clip", f"{clip['source']}, {_size(clip['size'])}"),
        ("pace", f"{pace}; {settings['frames']} frames counted in each of {settings['rounds']} rounds"),
        ("engine", f"{settings['engine_reason']} Network {_size(settings['network_size'])}."),
        ("model", f"{settings['model']['id']} {settings['model']['sha256'][:12]}".strip()),
        ("machine", f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']:g} GiB"),
        ("features", " ".join(machine["features"])),
    ]
    return _aligned(rows)


def _contestants(result: Mapping[str, Any]) -> str:
    head = (
        f"{'':22}{'fps':>8}{'least..most':>16}{'core-ms':>9}{'cores busy':>12}{'first frame':>14}{'ready':>9}{'MB':>7}"
    )
    lines = [head]
    for name, figures in result["medians"].items():
        if not isinstance(figures, Mapping) or "fps" not in figures:
            continue
        every = [fps for found in result["rounds"] if (fps := look_up(found, f"{name}.fps")) is not None]
        spread = f"{min(every):.1f}..{max(every):.1f}"
        busy, memory = look_up(figures, "cores_busy"), look_up(figures, "memory_mb.end")
        lines.append(
            f"{name:22}{figures['fps']:8.1f}{spread:>16}{_cell(look_up(figures, 'core_ms'), 9, 2)}"
            f"{'-' if busy is None else f'{busy:.0%}':>12}{_cell(figures['first_frame_ms'], 11, 1)} ms"
            f"{_cell(figures['ready_s'], 7, 2)} s{_cell(memory, 7, 0)}"
        )
    return "\n".join(lines)


def _times(node: Figures) -> str:
    lines = [f"{'node, milliseconds':22}" + "".join(f"{name:>9}" for name in QUANTILES)]
    rows = {"capture to subscriber": node["latency_ms"], **{f"  {k}": v for k, v in node["stages_ms"].items()}}
    return "\n".join(
        lines + [f"{name:22}{''.join(_cell(times[q], 9, 2) for q in QUANTILES)}" for name, times in rows.items()]
    )


def _facts(result: Mapping[str, Any], node: Figures) -> str:
    ratios, frames, memory = result["medians"]["ratios"], node["frames"], node["memory_mb"]
    shares = [f"{ratios[key]:.2f} {text}" for key, text in _RATIOS.items() if ratios.get(key) is not None]
    rest = ratios.get("beyond_decoding_and_inference_core_ms")
    use, dropped = node.get("engine"), {name: count for name, count in node["dropped"].items() if count}
    rows = [
        ("node has", ", ".join(shares)),
        ("the rest", "" if rest is None else f"{rest:.2f} core-ms a frame for all but decoding and inference"),
        (
            "engine",
            "" if not use else f"busy {use['busy']:.0%} of the time, {use['runs_at_a_time']:.2f} runs at a time",
        ),
        (
            "frames",
            f"{frames['captured']:g} captured, {frames['published']:g} published, {frames['received']:g} received; "
            f"dropped {_counts(dropped)}; {node['lost_messages']:g} messages lost on the way",
        ),
        (
            "memory",
            ""
            if None in memory.values()
            else "MB at the start {start:.1f}, the end {end:.1f}, peak {peak:.1f}".format(**memory),
        ),
    ]
    return _aligned(rows)


def _aligned(rows: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"{name:>10}  {text}" for name, text in rows if text)


def _cell(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.{digits}f}"


def _counts(dropped: Mapping[str, float]) -> str:
    return ", ".join(f"{count:g} {name}" for name, count in dropped.items()) or "none"


def _size(size: Sequence[int]) -> str:
    return "x".join(map(str, size))
