"""Taskyard on one machine: the embedded emulator, event sources and commands."""
