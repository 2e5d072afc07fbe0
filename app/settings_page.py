"""Writes docs/settings.md from the declared settings: ``python -m app.settings_page > docs/settings.md``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from app.settings import declared

if TYPE_CHECKING:
    from app.settings_table import Setting

_HEAD = """\
# Settings

Made from `app/settings.py` by `python -m app.settings_page > docs/settings.md`; change it there.

Each setting is an environment variable, a key in `rekey.toml`, and, unless it is a secret, a flag. **Flag > environment > file > default.**

- The file is `rekey.toml` in the current folder, or the one named by `--config` or `REKEY_CONFIG`. Its keys are the settings in small
  letters: `grace_seconds = 3600`, `references = ["thumbnails.object_key"]`.
- A secret has no flag, since everyone on a machine can read a process's arguments. It has a twin that names a file instead:
  `REKEY_S3_SECRET_KEY_FILE=/run/secrets/s3_secret_key`. Both at once are refused.
- An empty environment variable counts as not set. A name that is no setting is refused, with the nearest one that is.
- `REKEY_DEBUG=1` shows the traceback of an error.
- Kept or refused at the start: REQUEST_TIMEOUT < LEASE < VISIBILITY_TIMEOUT, and RECONCILE <= LOOK.
- Every process of one deployment (workers, beat, Flower, commands) needs the same settings; a run keeps those it was planned with.

| Setting | Default | Values | What it is |
|---|---|---|---|
"""


def settings_page() -> str:
    """The page as it must stand in docs/settings.md."""
    return _HEAD + "".join(_row(setting) for setting in declared())


def _row(setting: Setting) -> str:
    name = f"`{setting.environment}`" + (" (or `_FILE`)" if setting.secret else "")
    return f"| {name} | {_default(setting)} | {_values(setting)} | {setting.help} |\n"


def _default(setting: Setting) -> str:
    if setting.required:
        return "required"
    if isinstance(setting.default, bool):
        return f"`{str(setting.default).lower()}`"
    return f"`{setting.default}`" if setting.default not in {None, (), ""} else "none"


def _values(setting: Setting) -> str:
    if setting.number:
        return f"{setting.low} to {setting.high}"
    return ", ".join(f"`{choice}`" for choice in setting.choices) or "text"


if __name__ == "__main__":
    sys.stdout.write(settings_page())
