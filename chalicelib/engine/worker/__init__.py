"""The worker: a batch of messages is claimed, run and settled, one job after the other."""
