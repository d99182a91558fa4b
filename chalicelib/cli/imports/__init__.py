"""`taskyard import`: what another system has left unfinished is moved here.

A source (``fastify_mq``, ``fastify_task``, ``kue``) reads it, page by page, as ``found`` has it; ``moving`` brings it
onto the ledger, each job once however often that is repeated.
"""
