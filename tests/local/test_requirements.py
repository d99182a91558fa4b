"""What people install to run and deploy the service is small: nothing that the emulator has for other services."""

from __future__ import annotations

from tests.support.distributions import installed_by

IN_EVERY_ENVIRONMENT = {"pip", "setuptools", "wheel"}
PACKAGES_MAX = 48
# What the emulator uses for services that Taskyard does not: databases, containers, certificates, SFTP.
FOR_OTHER_SERVICES = {"asyncssh", "cryptography", "docker", "duckdb", "psycopg2-binary", "pymysql"}


def test_the_extra_local_installs_few_packages() -> None:
    installed = installed_by("local") - IN_EVERY_ENVIRONMENT
    assert len(installed) <= PACKAGES_MAX, sorted(installed)
    assert {"ministack", "hypercorn", "aws-sam-translator", "localstack-client"} <= installed
    assert not installed & FOR_OTHER_SERVICES
