"""The product with one guard of the contract taken out: the checker must catch each (the guards: tests.model.guards)."""

from __future__ import annotations
import __future__ as future

import importlib
import inspect
import sys
import textwrap
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """In *function* of *module*, *before* becomes *after*; *caught_by* names scenario and store on which that must show."""

    name: str
    module: str
    function: str
    before: str
    after: str
    caught_by: tuple[str, str]
    made_by: tuple[str, str] | None = None  # a name of the module, and the expression that makes it anew from the mutant
    and_edit: tuple[str, str] | None = None  # another place in the function, what it reads and what it shall
    faults: int = 1  # that it takes
    besides: Mutant | None = None  # a second guard against the same harm, taken out with it: each is enough alone

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Within the block the product is the mutant."""
        with ExitStack() as stack:
            if self.besides:
                stack.enter_context(self.besides.installed())
            module = importlib.import_module(self.module)
            owner_name, _, name = self.function.rpartition(".")
            owner: Any = getattr(module, owner_name) if owner_name else module
            original = vars(owner)[name]
            mutated = self._mutated(module, getattr(owner, name), name)
            users = [owner] if owner_name else [user for user in list(sys.modules.values()) if vars(user).get(name) is original]
            for user in users:
                stack.enter_context(patch.object(user, name, mutated))
            if self.made_by:
                made, expression = self.made_by
                before, anew = vars(module)[made], eval(expression, vars(module))  # noqa: S307 - ours
                for user in [user for user in list(sys.modules.values()) if vars(user).get(made) is before]:
                    stack.enter_context(patch.object(user, made, anew))
            yield

    def _mutated(self, module: ModuleType, original: Any, name: str) -> Any:  # noqa: ANN401 - a function
        source = textwrap.dedent(inspect.getsource(original))
        for before, after in ((self.before, self.after), *([self.and_edit] if self.and_edit else [])):
            if source.count(before) != 1:
                raise AssertionError(f"{self.name}: {source.count(before)} places in {self.module}.{self.function} read {before!r}")
            source = source.replace(before, after)
        code = compile(source, f"<{self.name}>", "exec", flags=future.annotations.compiler_flag)
        made: dict[str, Any] = {}
        exec(code, vars(module), made)  # noqa: S102 - the product's own text
        return made[name]
