"""Putting an installation on AWS, or on an emulator of it, and taking it away again."""
