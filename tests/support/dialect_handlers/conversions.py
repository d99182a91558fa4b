"""Jobs like those of kue's documentation: conversions, which succeed once their codec is installed, and slides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chalicelib.engine.handlers.declare import task
from chalicelib.engine.worker.context import Context


@task("video conversion")
@task("audio conversion")
@task("image conversion")
def convert(given: dict[str, Any], context: Context) -> dict[str, int]:
    """Log the title and report a third; fails while the file that ``codec`` names is missing."""
    context.write_log(f"converting {given['title']}")
    context.progress(1, 3)
    if not Path(given["codec"]).exists():
        raise FileNotFoundError("the codec is missing")
    return {"frames": 24}


@task("slideshow pdf")
def render(given: dict[str, Any], context: Context) -> dict[str, int]:
    """Log and report each slide."""
    slides = given["slides"]
    for number, slide in enumerate(slides, start=1):
        context.write_log(f"rendering {slide['width']}x{slide['height']} slide")
        context.progress(number, len(slides), data={"nextSlide": "itsdone" if number == len(slides) else number + 1})
    return {"pages": len(slides)}
