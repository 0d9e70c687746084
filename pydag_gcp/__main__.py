"""``python -m pydag_gcp`` is the command ``pydag``."""

import sys

from pydag_gcp.cli import main

if __name__ == "__main__":
    sys.exit(main(prog_name="python -m pydag_gcp"))
