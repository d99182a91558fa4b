"""What the tests of the framework start from: the API that is made with it."""

from tests.api.conftest import api, kind, topic

__all__ = ["api", "kind", "topic"]
