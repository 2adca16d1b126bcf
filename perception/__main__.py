"""``python -m perception`` is the ``roadcast`` command."""

import sys

from perception.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
