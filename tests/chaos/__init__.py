"""Chaos: ``taskyard up`` behind a network that fails, with processes that are killed; judged as the simulation is.

    python -m tests.chaos --jobs 2000 --seed 1
    python -m tests.chaos --jobs 1000000 --step 5000 --log chaos.jsonl     # goes on where the log ends

Each step has an emulator, an installation and a seed of its own. Between them stands a proxy that refuses, throttles,
answers late, cuts connections before and after the effect, cancels transactions and sends messages twice. Workers, API,
clock and projector are killed (-9) all the while, and their clocks are up to five minutes off. Then the weather is fair
until all is done, and the judge of ``tests/proof`` is asked.

    proxy       what stands before the emulator, a process of its own
    handlers    what runs, and writes down that it did
    load        the clients
    killing     who dies, and when
    step        one step, to its verdict
    disk        a data folder on a full disk; a command of its own
"""
