"""``rmabridge demo``: a bridge among simulated platforms, and what it does there."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--once", is_flag=True, help="Tell the stories, show the table, end.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON; the stories go to stderr.")
@click.option("--lang", type=click.Choice(["zh", "en"]), help="Language of the stories; the locale's if left out.")
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep configuration, database and logs in this directory, which must be empty or new.",
)
def demo(once: bool, as_json: bool, lang: str | None, keep: Path | None) -> None:
    """Run a bridge with simulated platforms: a return from the request to the money, kill -9, forgeries, a relay, a
    carrier's damage and a silent parcel claimed, a wrong item paid for, a chat answered.

    Everything listens on loopback and is stopped at the end. The closing table is read from the bridge and,
    independently, from the servers' own books: a difference fails the demo.
    """
    from ..testing.demo.play import play
    from ..testing.demo.words import language_of

    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise click.UsageError(f"--keep {keep}: the directory is not empty")
    click.get_current_context().exit(play(lang or language_of(), keep, once=once, as_json=as_json))
