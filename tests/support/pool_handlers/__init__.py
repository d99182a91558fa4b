"""Pools that only tests want; loaded by TASKYARD_HANDLERS."""
