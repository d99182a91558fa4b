"""A lean way to the services that speak JSON: what botocore does for a call, but for its model of the service.

botocore validates, serialises and parses each call by a description of the whole service, which is most of what a call
costs. Both SQS and DynamoDB take and answer JSON in which a call of ours is written already. So a call is written as
JSON, signed, sent in one piece over a kept connection, and repeated by botocore's standard rules. Endpoints,
credentials, events and errors are botocore's, too; what else is asked of a client goes to botocore's own.

    services     which services and operations go this way, and where they are called
    signing      AWS's signature, version 4, of such a call
    connections  HTTP/1.1 over kept connections
    answers      what comes back, as botocore tells it
    client       a call from its parameters to its answer
"""
