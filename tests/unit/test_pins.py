"""The pins of both constraints files, against what the installed packages ask of each other."""

import re
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement

FOLDER = Path(__file__).parents[2]
PIN = re.compile(r"^(?P<name>[a-z0-9-]+)(\[(?P<extras>[a-z0-9,-]+)\])?==", re.MULTILINE)


def asked_with_extras() -> Iterator[tuple[str, str]]:
    """Yield (package, extra) for each requirement with an extra of an installed package that is not itself an unasked extra."""
    for distribution in distributions():
        for line in distribution.requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                for extra in requirement.extras:
                    yield requirement.name.lower(), extra


def test_pins_name_every_extra_that_an_installed_package_asks_for() -> None:
    """An old pip takes the newest release for `name[extra]` beside a pin of the bare name, and refuses it for want of a hash."""
    pins = {
        match["name"]: set((match["extras"] or "").split(","))
        for file in ("constraints.txt", "tests/constraints.txt")
        for match in PIN.finditer((FOLDER / file).read_text())
    }
    lacking = {(name, extra) for name, extra in asked_with_extras() if name in pins and extra not in pins[name]}

    assert lacking == set()
    assert pins["coverage"] == {"toml"}
