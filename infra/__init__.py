"""What an installation consists of on AWS, in one CloudFormation template."""
