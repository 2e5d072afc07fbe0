"""Which copies get another ETag than their source has, at this endpoint: seen on throw-away objects."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from app.copying import SINGLE_COPY_BYTES
from app.errors import ObjectError, RekeyError
from app.fidelity import Way, ways_of
from app.object_store import ObjectAttributes, ObjectStore

if TYPE_CHECKING:
    from app.doctor.findings import Findings
    from app.object_store import Capabilities, Deadline, ObjectInfo
    from app.settings import Settings

_BODY = b"etag"
_PLAIN, _ENCRYPTED = ObjectAttributes(), ObjectAttributes(headers={"x-amz-server-side-encryption": "AES256"})
_WAYS = {Way.COPY: "by CopyObject", Way.PUT: "by GET and PUT", Way.PARTS: "by parts"}


def check_etags(settings: Settings, store: ObjectStore, seen: Capabilities, found: Findings, *, lease: Deadline) -> None:
    """Say of which objects a run changes the ETag. Raises the TransientErrors of the store."""
    trial = _Trial(store, lease)
    used = ways_of(seen, copy_mode=settings.copy_mode)
    single = SINGLE_COPY_BYTES if Way.COPY in used else settings.inline_bytes
    try:
        kinds = {"written whole": trial.whole(_PLAIN), "uploaded in parts": trial.parts(), "encrypted (SSE-S3)": trial.whole(_ENCRYPTED)}
        changed = [text for kind, source in kinds.items() if source is not None for text in trial.changes(kind, source, used)]
    except ObjectError as error:
        found.note(f"whether copies keep their ETag could not be tried: {error}")
        return
    finally:
        trial.clean_up()
    if changed:
        found.note(
            f"copies get another ETag, of objects {'; '.join(changed)} (parts: above {single} bytes); "
            "REKEY_FIDELITY does not cover it, since no write can ask for an ETag",
            remedy="caches ask once more for such objects; `rekey plan` counts them, `etag_changed` in `rekey report` names them",
        )
    else:
        found.ok("copies keep their source's ETag on the ways of a run")


class _Trial:
    """Throw-away objects, and their copies."""

    def __init__(self, store: ObjectStore, lease: Deadline) -> None:
        self._store = store
        self._lease = lease
        self._prefix = f".rekey/etag-{secrets.token_hex(8)}/"
        self._keys: list[str] = []

    def whole(self, attributes: ObjectAttributes) -> ObjectInfo | None:
        """An object written by one request; None where the store takes none such."""
        key = self._key()
        try:
            self._store.put(key, _BODY, attributes, condition=None, deadline=self._lease)
        except ObjectError:
            return None
        shown = self._store.head(key)
        return shown.info if attributes.headers.items() <= shown.attributes.headers.items() else None

    def parts(self) -> ObjectInfo:
        """An object uploaded in a part."""
        key = self._key()
        self._upload(key, _PLAIN, lambda upload: self._store.put_part(upload, key, 1, _BODY, deadline=self._lease))
        return self._store.stat(key)

    def changes(self, kind: str, source: ObjectInfo, used: tuple[Way, ...]) -> Iterator[str]:
        """The ways of a run on which a copy of *source* has another ETag."""
        ways = [_WAYS[way] for way in used if self._copied(source, way) != source.etag]
        if ways:
            yield f"{kind}: {' and '.join(ways)}"

    def clean_up(self) -> None:
        """Remove what is left."""
        for key in self._keys:
            with suppress(RekeyError):
                self._store.delete([self._store.stat(key)], deadline=self._lease)

    def _key(self) -> str:
        self._keys.append(f"{self._prefix}{len(self._keys)}")
        return self._keys[-1]

    def _upload(self, key: str, attributes: ObjectAttributes, write: Callable[[str], str]) -> None:
        upload = self._store.create_upload(key, attributes, deadline=self._lease)
        try:
            self._store.complete_upload(upload, key, [write(upload)], condition=None, deadline=self._lease)
        except BaseException:
            self._store.abort_upload(upload, key)
            raise

    def _copied(self, source: ObjectInfo, way: Way) -> str:
        key, attributes = self._key(), self._store.head(source.key).attributes
        if way is Way.COPY:
            self._store.copy(source, key, condition=None, deadline=self._lease, headers=attributes.headers)
        elif way is Way.PUT:
            self._store.put(key, _BODY, attributes, condition=None, deadline=self._lease)
        else:
            last = len(_BODY) - 1
            self._upload(
                key, attributes, lambda upload: self._store.copy_part(upload, key, 1, source, first=0, last=last, deadline=self._lease)
            )
        return self._store.stat(key).etag
