"""Run the command line by `python -m jepawm`."""

import sys

from jepawm.cli import main

if __name__ == "__main__":
    sys.exit(main())
