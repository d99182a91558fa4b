"""Compressing answers as API Gateway does, by ``minimum_compression_size`` in ``.chalice/config.json``.

Of the encodings that API Gateway knows (Developer Guide, "Enable payload compression for an API") this is gzip alone:
no client takes another without taking it.
"""

from __future__ import annotations

import gzip
import re

FROM_BYTES = 1_024
LEVEL = 5  # of 9: what comes above it saves a hundredth and takes twice the time
_REFUSED = re.compile(r"\s*q\s*=\s*0(\.0*)?\s*")


def takes_gzip(accept_encoding: str) -> bool:
    """Whether a client that sent this header takes gzip (RFC 9110, 12.5.3)."""
    entries = (entry.partition(";") for entry in accept_encoding.lower().split(","))
    weights = {name.strip(): weight for name, _, weight in entries}
    weight = weights.get("gzip", weights.get("*"))
    return weight is not None and _REFUSED.fullmatch(weight) is None


def compressed(body: bytes) -> bytes:
    """``body`` by gzip, the same each time."""
    return gzip.compress(body, LEVEL, mtime=0)
