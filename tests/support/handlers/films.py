"""Films that are converted once their codec is installed, and what they wrote: what people do with failures."""

from __future__ import annotations

from pathlib import Path

from chalicelib import Band
from chalicelib.engine.handlers.declare import subscribe, task
from chalicelib.engine.worker.context import Context


@task("film.convert", max_attempts=1, key="input.title")
@subscribe("film.wanted", lanes=[Band.NORMAL], max_attempts=1)
def convert(film: dict[str, str], context: Context) -> dict[str, int]:
    """Log the title; fails with it while the file that ``codec`` names is missing."""
    context.write_log(f"converting {film['title']}")
    if not Path(film["codec"]).exists():
        raise FileNotFoundError(f"the codec of {film['title']} is missing")
    return {"frames": 24}
