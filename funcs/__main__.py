"""`python -m funcs`: the same as `funcs`."""

from funcs.cli.main import main

main()
