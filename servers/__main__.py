"""``python -m servers`` is the ``las`` command."""

from servers.cli import main

main()
