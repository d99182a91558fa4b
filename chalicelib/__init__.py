"""Taskyard: tasks and messages on SQS, DynamoDB and Lambda, with no server to keep alive."""
