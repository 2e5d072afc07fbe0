"""Is the bucket there, may we do in it what a run does, and what does its endpoint honour?"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, cast

from app.copying import SMALL_BYTES, SNOWBALL_OBJECTS
from app.doctor.etags import check_etags
from app.doctor.fidelity import check_fidelity
from app.doctor.findings import Finding, Findings
from app.doctor.side_effects import ObservedStore, check_side_effects
from app.errors import DeniedError, MissingKeysError, NoKeysError, ObjectError, TransientError
from app.fidelity import Way, takes_small_together, ways_of
from app.object_keys import Equivalence
from app.object_store import MAX_LISTED, Capabilities, ObjectAttributes, ObjectInfo, Seconds
from app.placing import folded_form
from app.probe import ProbedStore, probe
from app.two_buckets import TwoBuckets, probe_both

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.settings import Settings

_TRIAL = Seconds(60.0)  # nobody else knows the throw-away key
TRIAL_FOLDER = ".rekey/"


class ExaminedStore(ProbedStore, ObservedStore, Protocol):
    """What can be probed, and what only doctor asks of a bucket."""

    def bucket_exists(self) -> bool:
        """Whether the bucket is there; raises DeniedError where the credentials may not look."""


@dataclass(frozen=True, slots=True)
class _Bucket:
    """One bucket to look into."""

    store: ExaminedStore
    name: str
    setting: str
    prefix: str | None  # that new keys begin with, where they lie in this one


def _buckets(settings: Settings, store: ExaminedStore | TwoBuckets) -> list[_Bucket]:
    prefix = new_prefix(settings.template)
    if not isinstance(store, TwoBuckets):
        return [_Bucket(store, settings.s3_bucket, "REKEY_S3_BUCKET", prefix)]
    source, target = cast("ExaminedStore", store.source), cast("ExaminedStore", store.target)
    new = _Bucket(target, str(settings.target_bucket), "REKEY_TARGET_BUCKET", prefix)
    return [_Bucket(source, settings.s3_bucket, "REKEY_S3_BUCKET", None), new]


def _check_bucket(settings: Settings, bucket: _Bucket, found: Findings) -> tuple[bool, bool]:
    """Whether one bucket is there, and may be used as a run does."""
    if not _exists(bucket.store):
        found.problem(f"there is no bucket {bucket.name!r}", remedy=f"make it, or correct {bucket.setting}")
        return False, False
    found.ok(f"the endpoint of bucket {bucket.name!r} answers")
    where = f" of bucket {bucket.name!r}" if settings.target_bucket is not None else ""
    folders = dict.fromkeys((TRIAL_FOLDER, (bucket.prefix or "") + TRIAL_FOLDER))
    allowed = [_check_rights(bucket.store, folder, found, where=where) for folder in folders]
    return True, all(allowed)


def _effects(settings: Settings, bucket: _Bucket) -> list[Finding]:
    """What a run sets off in one bucket; where there are two, it is said in which."""
    effects = check_side_effects(bucket.store, bucket.prefix)
    if settings.target_bucket is None:
        return effects
    return [replace(effect, text=f"bucket {bucket.name!r}: {effect.text}") for effect in effects]


def _check_places(settings: Settings, store: TwoBuckets, found: Findings) -> None:
    """See whether the source bucket has objects whose keys have the template's form: those are out of reach."""
    form, head = settings.key_template, settings.template.partition("{")[0]
    try:
        page = store.source.list_page(prefix=head, start_after="", delimiter="", limit=MAX_LISTED)
    except ObjectError:  # which is said of the right to list
        return
    named = [info.key for info in page.objects if form.has_form(info.key)]
    if named:
        found.problem(
            f"bucket {settings.s3_bucket!r} has objects whose keys have the template's form, like {named[0]!r}: they are looked for in "
            f"bucket {settings.target_bucket!r}, and their rows would be parked as missing_source",
            remedy="choose a template that begins with another word",
        )


def check_store(settings: Settings, store: ExaminedStore | TwoBuckets) -> tuple[list[Finding], Capabilities | None]:
    """Try the bucket, the rights that a run needs, and what the endpoint honours; only throw-away objects are written."""
    found = Findings("object store")
    try:
        buckets = _buckets(settings, store)
        fit = [_check_bucket(settings, bucket, found) for bucket in buckets]  # each of them is told about
        if not all(there for there, _ in fit):
            return found, None
        effects = [effect for bucket in buckets for effect in _effects(settings, bucket)]
        if not all(allowed for _, allowed in fit):
            return [*found, *effects], None
        if isinstance(store, TwoBuckets):
            _check_places(settings, store, found)
            capabilities = probe_both(store)
        else:
            capabilities = probe(store)
        check_capabilities(settings, capabilities, found)
        check_fidelity(settings, capabilities, found)
        check_etags(settings, store, capabilities, found, lease=_TRIAL)
    except MissingKeysError as error:
        found.problem(str(error), remedy="`aws configure` writes such a file; the store itself was not asked")
    except NoKeysError as error:
        found.unreachable(str(error), remedy="see to what gives this machine its keys; the store itself was not asked")
    except TransientError as error:
        found.unreachable(
            f"it does not answer: {error}", remedy="start it, or correct REKEY_S3_ENDPOINT (and REKEY_S3_CA_FILE for its certificate)"
        )
    except DeniedError as error:
        found.problem(
            f"it refuses: {error.detail}", remedy="correct REKEY_S3_ACCESS_KEY and REKEY_S3_SECRET_KEY, or let them look at the bucket"
        )
    except ObjectError as error:
        found.problem(str(error), remedy="see what stands between this machine and the store: the answer is none that S3 gives")
    else:
        return [*found, *effects], capabilities
    return found, None


def new_prefix(template: str) -> str:
    """The folders that all new keys begin with, whatever the row says."""
    literal = template.partition("{")[0]
    return literal[: literal.rfind("/") + 1]


def _exists(store: ExaminedStore) -> bool:
    try:
        return store.bucket_exists()
    except DeniedError:
        return True  # it asks for the right to list; which rights there are is tried one by one


def _check_rights(store: ExaminedStore, folder: str, found: Findings, *, where: str = "") -> bool:
    """Try every right that a run needs on one throw-away object below *folder*."""
    trials = _Trials(store, folder)
    refused: dict[str, str] = {}
    for right, trial in trials.all().items():
        try:
            trial()
        except DeniedError as error:
            refused[right] = error.detail
    if not refused:
        found.ok(f"the credentials have all rights that a run needs below {folder!r}{where}")
    elif trials.written is None:
        found.problem(
            f"it refuses a PUT (s3:PutObject) below {folder!r}{where}: {refused['s3:PutObject']}",
            remedy=f"correct the credentials, or allow them {', '.join(trials.all())}",
        )
    else:
        left = f"; the throw-away object {trials.key!r} is left" if "s3:DeleteObject" in refused else ""
        found.problem(f"the credentials lack {', '.join(refused)} below {folder!r}{where}{left}", remedy="allow it in their policy")
    return not refused


class _Trials:
    """One throw-away object, and for each right a request that needs it."""

    def __init__(self, store: ExaminedStore, folder: str) -> None:
        self._store = store
        self._folder = folder
        self.key = f"{folder}doctor-{secrets.token_hex(8)}"
        self.written: ObjectInfo | None = None

    def all(self) -> dict[str, Callable[[], object]]:
        """The rights by name, in the order to try them."""
        return {
            "s3:PutObject": self._put,
            "s3:PutObjectTagging": self._put_tagged,
            "s3:GetObject": lambda: self.written and self._store.read(self.key, max_bytes=1),
            "s3:GetObjectTagging": lambda: self.written and self._store.tags(self.key),
            "s3:ListBucket": lambda: self._store.list_page(prefix=self._folder, start_after=self._folder, limit=1),
            "s3:AbortMultipartUpload": self._upload,
            "s3:DeleteObject": self._delete,
        }

    def _put(self) -> None:
        self.written = self._store.put(self.key, b"", ObjectAttributes(), condition=None, deadline=_TRIAL)

    def _put_tagged(self) -> None:
        if self.written:
            attributes = ObjectAttributes(headers={"x-amz-tagging": "kind=trial"}, tag_count=1)
            self.written = self._store.put(self.key, b"", attributes, condition=None, deadline=_TRIAL)

    def _upload(self) -> None:
        if self.written:
            self._store.abort_upload(self._store.create_upload(self.key, ObjectAttributes(), deadline=_TRIAL), self.key)

    def _delete(self) -> None:
        if self.written:
            refusal = self._store.delete([self.written], deadline=_TRIAL)[self.key]
            if refusal is not None:
                raise refusal


def check_capabilities(settings: Settings, seen: Capabilities, found: Findings) -> None:
    """Say what the endpoint does not honour, and what comes of that."""
    ignored = seen.ignored_conditions
    if settings.copy_mode == "server":
        found.note(
            "REKEY_COPY=server: a foreign object that comes to a new key at the wrong moment is overwritten",
            remedy="leave REKEY_COPY out unless nobody else writes under the new keys",
        )
        if ignored:
            found.note(
                f"it does not honour {', '.join(ignored)}: no run can be taken back, since `rekey rollback` writes under old keys, "
                "for which REKEY_COPY=server does not speak",
                remedy="use another store if you may want to take a run back",
            )
    elif ignored:
        found.problem(
            f"it does not honour {', '.join(ignored)}: a copy could overwrite a foreign object",
            remedy="use another store, or set REKEY_COPY=server if nobody else writes under the new keys",
        )
    else:
        by_store = Way.COPY in ways_of(seen, copy_mode=settings.copy_mode)
        way = "CopyObject" if by_store else f"GET + PUT up to {settings.inline_bytes} bytes, parts above"
        found.ok(f"nothing foreign is overwritten: conditional writes are honoured (copies go by {way})")
    if not seen.copy_source_if_match:
        found.problem("it ignores x-amz-copy-source-if-match: a source could change under the copy", remedy="use another store")
    if not seen.query_signed_expiry:
        found.problem(
            "it carries out requests after their signature has expired: a late one could undo newer writes", remedy="use another store"
        )
    folded_word = folded_form(settings.template, Equivalence.of(seen)) if settings.target_bucket is not None else None
    if folded_word is not None:
        found.problem(folded_word, remedy="correct REKEY_TEMPLATE")
    _check_listings(seen, found)
    if not seen.delete_if_match:
        found.note("it deletes unconditionally: what protects a late write is the look just before the delete (README, safety)")
    _say_what_else(settings, seen, found)
    folded = [name for name, folds in _folds(seen).items() if folds]
    if folded:
        found.note(f"it takes some keys for one object ({', '.join(folded)}); they are compared as it does")


def _say_what_else(settings: Settings, seen: Capabilities, found: Findings) -> None:
    if seen.versioning:
        found.note("the bucket is versioned: a delete leaves a marker, and old versions keep their room")
    if takes_small_together(seen, copy_mode=settings.copy_mode):
        found.ok(f"objects of up to {SMALL_BYTES} bytes are read and written {SNOWBALL_OBJECTS} in a request: it takes tar files apart")


def _check_listings(seen: Capabilities, found: Findings) -> None:
    if not seen.lists_folders:
        found.note("its listings are not in byte order or not fresh: every check is a HEAD of its own, which is slower")
    elif not seen.ordered_listing:
        found.note("its listings are in byte order within a folder alone: a plan looks at each key by a HEAD of its own, which is slower")
    if seen.lists_folders and not seen.lists_below_objects:
        found.note("its listings hide what lies below another object as in a folder (a and a/b): there, each check is a HEAD of its own")


def _folds(seen: Capabilities) -> dict[str, bool]:
    return {
        "/x and x": seen.folds_leading_slash,
        "a//b and a/b": seen.folds_double_slash,
        "a\\b and a/b": seen.folds_backslash,
        "A and a": seen.folds_case,
        "a/./b and a/b": seen.folds_dots,
        "an accent written as one letter or as two": seen.folds_unicode,
    }
