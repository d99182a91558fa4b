"""The use cases: publish, run, settle, replay, repair, project."""
