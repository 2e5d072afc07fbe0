"""The product with one guard of the contract taken out: the checker must catch each."""

from __future__ import annotations
import __future__ as future

import importlib
import inspect
import sys
import textwrap
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """In *function* of *module*, *before* becomes *after*; *caught_by* names scenario and store on which that must show."""

    name: str
    module: str
    function: str
    before: str
    after: str
    caught_by: tuple[str, str]

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Within the block the product is the mutant."""
        module = importlib.import_module(self.module)
        owner_name, _, name = self.function.rpartition(".")
        owner: Any = getattr(module, owner_name) if owner_name else module
        original = getattr(owner, name)
        source = textwrap.dedent(inspect.getsource(original))
        if source.count(self.before) != 1:
            raise AssertionError(f"{self.name}: {source.count(self.before)} places in {self.module}.{self.function} read {self.before!r}")
        code = compile(source.replace(self.before, self.after), f"<{self.name}>", "exec", flags=future.annotations.compiler_flag)
        made: dict[str, Any] = {}
        exec(code, vars(module), made)  # noqa: S102 - the product's own text
        with patch.object(owner, name, made[name]):
            if owner_name:
                yield
                return
            users = [user for user in list(sys.modules.values()) if vars(user).get(name) is original]
            for user in users:
                setattr(user, name, made[name])
            try:
                yield
            finally:
                for user in users:
                    setattr(user, name, original)


ALL = (
    Mutant(
        name="delete without asking the rows",
        module="app.stages.aftercare",
        function="_named",
        before="named = bool(view.claims.named_by_others(move, move.old_key))",
        after="named = False",
        caught_by=("H29_second_row_on_the_old_object", "conditional"),
    ),
    Mutant(
        name="switch without comparing the key",
        module="app.stages.rename_keys",
        function="_in_transaction",
        before="row is None or row.key != move.old_key or not",
        after="row is None or not",
        caught_by=("H9_re_pointed_before_the_switch", "conditional"),
    ),
    Mutant(
        name="no grace",
        module="app.stages.aftercare",
        function="_grace_left",
        before="return max(by_database, float(by_store), held)",
        after="return 0.0",
        caught_by=("H16_end_of_the_grace", "conditional"),
    ),
    Mutant(
        name="copy over whatever is there",
        module="app.stages.copy_objects",
        function="_write",
        before="IfMatch(move.copy.etag) if move.copy else IfAbsent()",
        after="None",
        caught_by=("H4_upload_to_the_new_key", "like_minio"),
    ),
    Mutant(
        name="switch without looking at the source again",
        module="app.stages.last_looks",
        function="before_switch",
        before="not source.is_same_version(move.source)",
        after="False",
        caught_by=("H8_overwritten_before_the_switch", "conditional"),
    ),
    Mutant(
        name="delete a source that changed",
        module="app.stages.aftercare",
        function="look_after",
        before="or _changed(batch, view, seen, old)",
        after="",
        caught_by=("H1_late_writes", "conditional"),
    ),
    Mutant(
        name="a late write over whatever is at the new key",
        module="app.stages.late_writes",
        function="late_write",
        before="(new is not None and not move.is_our_copy(new))",
        after="False",
        caught_by=("H1_late_writes", "conditional"),
    ),
)
