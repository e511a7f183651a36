"""`python -m …function`, in the directory of the author's code: the one place that reads the environment."""

import os
import sys

from .process import main

if __name__ == "__main__":
    sys.exit(main(os.environ, os.getpid()))
