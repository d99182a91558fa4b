"""Schedules over HTTP: ``/api/schedule``."""

from __future__ import annotations

from chalicelib.api.schedules.routes import router

ROUTERS = (router,)
