"""Deterministic simulation: the whole engine in one process, on a simulated AWS, with what goes wrong chosen by seed.

    python -m tests.simulation --seeds 10000            # seeds 0 to 9,999; the first that fails is told whole
    python -m tests.simulation --seeds 1000 --wide      # the same, each with all that a run may hold
    python -m tests.simulation --seed 4711              # one seed, with its history
    python -m tests.simulation --seed 4711 --shrink     # the same with as few orders and faults as still fail

The real engine, store and queue code runs over a simulated DynamoDB and SQS, which take the liberties of the real ones.
Workers, API, clock and projector are processes of a scheduler that decides at each AWS call who goes on; they are
killed, stand still, and have clocks of their own. The same seed does the same again.

    scheduler    time, and who is next: greenlets that hand over at each call
    expressions  DynamoDB's expressions, read once
    dynamodb     tables, transactions, indexes that lag, the change stream
    sqs          queues: duplicates, any order, late messages, receipts that grow old
    weather      which faults a seed has
    network      a process's client: where the faults are met
    platform     event sources, the clock's rule, processes and their ends
    handlers     what runs, and writes down that it did
    clients      who asks, and is told
    orders       what is asked for, and how much of it
    simulate     one run, from the first order to the verdict (``tests/proof/judge.py``)
    shrink       a failing run made small
    mutants      engines with a fault, which the judge must find
"""
