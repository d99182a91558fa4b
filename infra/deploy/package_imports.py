"""Whether everything that packaged code imports will be there on Lambda, found by reading it.

Loading it would prove less: imports within functions do not run, and here, where Taskyard is installed, Python also
finds what the package lacks.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath

# AWS Lambda Developer Guide, "Runtime-included SDK versions": boto3 and botocore, with what they depend on.
IN_LAMBDA_RUNTIME = frozenset({"boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3"})
BEARS_STATEMENTS = (ast.stmt, ast.ExceptHandler, ast.match_case)
STAYS_OUT = ("chalicelib.cli.", "chalicelib.local.", "chalicelib.testing.")


def missing_imports(sources: Mapping[str, str], archive: Iterable[str]) -> Iterator[str]:
    """A sentence for each import in ``sources`` (path to text) of what neither ``archive`` nor Lambda has.

    Imports within functions count; those for type checkers, and those whose ``ImportError`` is caught, do not.
    """
    packaged = {PurePosixPath(name).parts[0].split(".")[0] for name in archive}
    known = packaged | IN_LAMBDA_RUNTIME | sys.stdlib_module_names
    for path, text in sources.items():
        imports = _Imports(".".join(PurePosixPath(path).parent.parts))
        imports.visit(ast.parse(text, path))
        for module, line in imports.found:
            if module.split(".")[0] not in known or f"{module}.".startswith(STAYS_OUT):
                yield f"{path}, line {line}: {module} is not there on Lambda"


class _Imports(ast.NodeVisitor):
    """Collects the absolute names a module imports, with their lines."""

    def __init__(self, package: str) -> None:
        self._package = package
        self.found: list[tuple[str, int]] = []

    def generic_visit(self, node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, BEARS_STATEMENTS):  # an expression, which holds no import, takes longest to walk
                self.visit(child)

    def visit_Import(self, node: ast.Import) -> None:
        self.found += [(alias.name, node.lineno) for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = importlib.util.resolve_name("." * node.level + (node.module or ""), self._package)
        # What is imported may be a module itself: `from chalicelib import local`.
        self.found += [(f"{module}.{alias.name}", node.lineno) for alias in node.names]

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for statement in node.orelse:
                self.visit(statement)
        else:
            self.generic_visit(node)

    def visit_Try(self, node: ast.Try) -> None:
        if not any(_catches_import_error(handler) for handler in node.handlers):
            self.generic_visit(node)


def _catches_import_error(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or bool({"ImportError", "ModuleNotFoundError"} & set(_names(handler.type)))


def _names(expression: ast.expr) -> Iterator[str]:
    return (node.id for node in ast.walk(expression) if isinstance(node, ast.Name))
