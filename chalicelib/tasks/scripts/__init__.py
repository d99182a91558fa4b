"""The processes of the pools in ``chalicelib/tasks/pools``."""
