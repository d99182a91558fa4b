"""A lean way to the services that speak JSON: what botocore does for a call, but for its model of the service.

botocore validates, serialises and parses each call by a description of the whole service, which is most of what a call
costs. Both SQS and DynamoDB take and answer JSON in which a call of ours is written already. So a call is written as
JSON, signed, sent in one piece over a kept connection, and repeated by botocore's standard rules. What is raised is
botocore's; endpoints and credentials, too, where the environment does not say all, and events where others follow
calls. What else is asked of a client goes to botocore's own. Before that, only botocore's errors are loaded.

    services     which services and operations go this way
    access       where and as whom they are called, if the environment alone says it
    configured   the same by profiles, files, roles, and AWS's rules of endpoints
    signing      AWS's signature, version 4, of such a call
    connections  HTTP/1.1 over kept connections
    answers      what comes back, as botocore tells it
    retries      which calls are tried again, and when
    events       who is told of a call
    client       a call from its parameters to its answer
"""
