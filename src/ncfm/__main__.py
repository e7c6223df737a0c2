"""``python -m ncfm``."""

from ncfm.cli.main import main

main()
