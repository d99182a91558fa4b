"""``text.statistics``: the lines, words, bytes and most frequent words of a text."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from pydantic import BaseModel, Field, model_validator

from chalicelib import Context, Reject, task

WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")


class TextInput(BaseModel):
    """The text itself, or the key of an object in the installation's bucket that holds it (UTF-8)."""

    text: str | None = None
    key: str | None = Field(default=None, min_length=1, max_length=1_024)
    top: int = Field(default=10, ge=1, le=1_000, description="how many of the most frequent words to answer")

    @model_validator(mode="after")
    def _one_source(self) -> TextInput:
        if (self.text is None) == (self.key is None):
            raise ValueError("either text or key, and not both")
        return self


@task("text.statistics", timeout_s=120)
def text_statistics(source: TextInput, context: Context) -> dict[str, Any]:
    """Count as ``wc`` does (words are what white space separates), and list the most frequent words.

    For the frequencies, a word is a run of letters and digits, compared without regard to case.
    """
    text = source.text if source.text is not None else _object_text(context, source.key or "")
    context.progress(1, 2, "read")
    frequencies = Counter(match.group().casefold() for match in WORD.finditer(text))
    ranked = sorted(frequencies.items(), key=lambda entry: (-entry[1], entry[0]))
    return {
        "lines": text.count("\n"),
        "words": len(text.split()),
        "bytes": len(text.encode()),
        "mostFrequent": [{"word": word, "count": count} for word, count in ranked[: source.top]],
    }


def _object_text(context: Context, key: str) -> str:
    try:
        answer = context.objects.get_object(Bucket=context.bucket, Key=key)
    except context.objects.exceptions.NoSuchKey as error:
        raise Reject(f"there is no object {key!r} in the bucket") from error
    try:
        return str(answer["Body"].read().decode())
    except UnicodeDecodeError as error:
        raise Reject(f"object {key!r} is not UTF-8 text") from error
