"""Handlers: how users declare them, and how they are found."""
