"""Polling: a client receives messages, works on them itself and says how it went."""
