"""Several networks on an NVIDIA GPU: ``roadcast bench --batch`` for one after the other, in one file.

python benchmarks/gpu.py MODEL.onnx... [--engine tensorrt|onnxruntime] [--size 1024x512,2048x1024] [--batch 1,4,8]
    [--seconds 3] [--peak TFLOPS,GBPS] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from perception.files import write_whole


def main() -> int:
    """Measure every model in a process of its own; print the tables and write one JSON file."""
    parser = argparse.ArgumentParser(description="Measure networks on an NVIDIA GPU.")
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL.onnx")
    parser.add_argument("--engine", choices=("tensorrt", "onnxruntime"), default="tensorrt")
    parser.add_argument("--size", default="1024x512", help="one or several, default: %(default)s")
    parser.add_argument("--batch", default="1,4,8", help="default: %(default)s")
    parser.add_argument("--seconds", default="3", help="for each figure, default: %(default)s")
    parser.add_argument("--peak", help="TFLOP/s and GB/s of the GPU, where it is not known")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "result.json"
        for model in args.models:
            command = [sys.executable, "-m", "perception", "bench", "--engine", args.engine, "--model", str(model)]
            command += ["--size", args.size, "--batch", args.batch, "--seconds", args.seconds, "--out", str(kept)]
            command += ["--peak", args.peak] if args.peak else []
            code = subprocess.run(command).returncode
            if code:
                return code
            results.append(json.loads(kept.read_text(encoding="utf-8")))
    if args.out:
        write_whole(args.out, json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
