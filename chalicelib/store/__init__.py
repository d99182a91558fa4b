"""DynamoDB tables and S3 objects, one module a table."""
