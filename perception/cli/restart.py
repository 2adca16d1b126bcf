"""Starting a node again whose engine failed: as a new process image, for nothing less frees a broken CUDA context."""

from __future__ import annotations

import os
import sys
import threading
import time

COUNT_VARIABLE = "ROADCAST_RESTARTS"  # restarts in a row, each soon after the one before
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
STEADY_S = 60.0  # a node that ran so long begins to count anew

_STARTED_S = time.monotonic()


def restart(interrupt: threading.Event) -> None:
    """Run this command line again in place of this process, after a pause that grows from failure to failure.

    Returns only if ``interrupt`` is set meanwhile.
    """
    before = os.environ.get(COUNT_VARIABLE, "")
    count = int(before) if before.isdigit() and time.monotonic() - _STARTED_S < STEADY_S else 0
    pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**count)
    print(f"roadcast: starting again in {pause_s:g} s (--on-engine-failure restart)", file=sys.stderr, flush=True)
    if interrupt.wait(pause_s):
        return
    os.environ[COUNT_VARIABLE] = str(count + 1)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
