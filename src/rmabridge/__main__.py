"""``python -m rmabridge``."""

from .cli import main

main(prog_name="rmabridge")
