"""What confines a page to itself and the API beside it: for the documentation and the console alike."""

from __future__ import annotations


def confining(*, script: str, style: str, image: str | None = None) -> dict[str, str]:
    """Headers of a page that loads scripts, styles and images from the given sources of a CSP, and nothing else.

    It asks nobody but its own origin, sends no form, is shown in no frame, and tells no other page where one came from.
    """
    policy = [
        "default-src 'none'",
        f"script-src {script}",
        f"style-src {style}",
        "connect-src 'self'",
        *([f"img-src {image}"] if image else []),
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    return {
        "Content-Security-Policy": "; ".join(policy),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Frame-Options": "DENY",
    }
