"""Proof that the service keeps its promises, whatever goes wrong: what both commands have in common.

``python -m tests.simulation`` runs the engine in one process, on a simulated AWS, by seed; ``python -m tests.chaos``
runs ``taskyard up`` with a proxy before its emulator. Both write a ``History``, of what clients were told and of what
handlers wrote down, and the same ``judge`` reads it.
"""
