"""Checking a deployed installation: what the services hold against what this checkout would deploy.

``report.run_checks`` asks every module here for its checks and runs them all at once. What is expected comes from
the templates of ``infra``, the stage's settings and `.chalice/config.json`; nothing is written here a second time.
"""
