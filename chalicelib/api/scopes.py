"""Which scopes open what several dialects share: seeing jobs, and acting on them, by their kind.

The scopes of the console open the same for both kinds: ``console`` to see everything, ``console:manage`` to act.
Creating and publishing they do not open.
"""

from __future__ import annotations

from chalicelib.core.states import Kind

SEE = "console"
ACT = "console:manage"
READS = {Kind.TASK: ("task", SEE), Kind.MESSAGE: ("message", SEE)}
ACTS = {Kind.TASK: ("task", ACT), Kind.MESSAGE: ("message", ACT)}
READS_ANY = ("task", "message", SEE)
ACTS_ON_ANY = ("task", "message", ACT)
