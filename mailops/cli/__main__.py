"""``python -m mailops.cli``: the same as the command ``mailops``."""

from . import main

main()
