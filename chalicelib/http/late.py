"""Routes that are made when they are first looked at.

The worker and the other functions share one package and one ``app.py`` with the API, but serve no route. What the
API alone needs (pydantic models of some forty shapes) would be most of their cold start.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import Any

from chalice.app import Chalice


class LateChalice(Chalice):
    """A Chalice application whose routes ``declare`` adds at the first look at them: by a request, by packaging."""

    def __init__(self, app_name: str, declare: Callable[[Chalice], None]) -> None:
        self._declare: Callable[[Chalice], None] | None = None
        self._lock = RLock()
        super().__init__(app_name)
        self._declare = declare

    @property
    def routes(self) -> Any:
        """The routes by path and method."""
        with self._lock:
            declare, self._declare = self._declare, None
            if declare is not None:
                declare(self)
        return self._routes

    @routes.setter
    def routes(self, routes: Any) -> None:
        self._routes = routes
