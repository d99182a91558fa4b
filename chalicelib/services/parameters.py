"""Parameters that are the fields of a record, for functions that take many."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Asked = TypeVar("Asked")
Returned = TypeVar("Returned")


def takes(new: Callable[Given, Asked]) -> Callable[[Callable[[Asked], Returned]], Callable[Given, Returned]]:
    """Give a function of what is ``new`` the parameters that make it, which are so declared once."""

    def taking(function: Callable[[Asked], Returned]) -> Callable[Given, Returned]:
        @functools.wraps(function)
        def called(*args: Given.args, **given: Given.kwargs) -> Returned:
            try:
                asked = new(*args, **given)
            except TypeError as error:  # of arguments: Python names whose parameters they are no longer
                _, _, what = str(error).partition("() ")
                raise TypeError(f"{function.__name__}() {what or error}") from None
            return function(asked)

        shown = inspect.signature(new).replace(return_annotation=function.__annotations__["return"])
        vars(called).update(__signature__=shown)
        return called

    return taking
