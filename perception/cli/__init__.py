"""The roadcast command."""

INTERRUPTED = 130  # exit code: cut off at once by Ctrl-C
