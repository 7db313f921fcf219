"""``python -m segmentarium`` is ``seg``."""

from segmentarium.cli import main

main()
