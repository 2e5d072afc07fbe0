"""What can go wrong, one class per failure.

Adapters translate the errors of minio, urllib3, SQLAlchemy and kombu into these; stages, tasks and the command line see no others.
Every class takes its fields by position and hands them to ``super().__init__``, so that an error survives pickling.
"""

from __future__ import annotations


class RekeyError(Exception):
    """Base of all errors of this product; its text is one line fit for the user."""


class UsageError(RekeyError):
    """A setting, an argument or the place where the command was started cannot be right (exit status 2)."""


class TransientError(RekeyError):
    """The call may well succeed later: nothing is wrong with the asset, and no attempt is counted (S8)."""


class PermanentError(RekeyError):
    """Repeating the call will not help."""


class StoreUnavailableError(TransientError):
    """The store refused a request for now (503, slow down, no connection): the request was *not* carried out."""


class UnreachableError(StoreUnavailableError):
    """No connection to the store came about, or no whole answer to a read: nothing was carried out."""


class StoreFullError(StoreUnavailableError):
    """There is no room for what was to be written: deletes make some (case 23)."""


class NoKeysError(StoreUnavailableError):
    """Whoever gives the keys to the store could not be asked, or has none for now; the store itself was asked nothing."""


class MissingKeysError(NoKeysError):
    """There are no keys to the store where a setting says that they are: a command ends as for a wrong setting, a worker waits for them."""


class UnansweredError(TransientError):
    """A request was sent and no whole answer came: it may have been carried out, and may still be until it expires (S7)."""


class ExpiredRequestError(TransientError):
    """The store refused a request since its signature had expired (M2): it was *not* carried out."""


class LeaseLostError(TransientError):
    """The lease ended before the request could be signed: the work belongs to somebody else by now (S7)."""


class DatabaseUnavailableError(TransientError):
    """The database did not answer, or ended the transaction (deadlock, serialisation failure, time-out)."""


class RolledBackError(DatabaseUnavailableError):
    """The server ended the transaction (deadlock, serialisation failure, a statement that took too long): nothing was changed.

    A smaller one may come through.
    """


class RowLockedError(RolledBackError):
    """Somebody else has held a row for longer than we wait: nothing was changed."""


class OutcomeUnknownError(DatabaseUnavailableError):
    """The connection broke while COMMIT was under way: the transaction may or may not have happened (H30)."""


class BrokerUnavailableError(TransientError):
    """The broker took no message."""


class ObjectError(PermanentError):
    """Base of what a store says of one object: ``ObjectError(object_key, detail)``."""

    def __init__(self, object_key: str, detail: str = "") -> None:
        super().__init__(object_key, detail)
        self.object_key = object_key
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.describe()} {self.object_key!r}" + (f": {self.detail}" if self.detail else "")

    @classmethod
    def describe(cls) -> str:
        """The words before the object key."""
        return "the store refused"


class MissingObjectError(ObjectError):
    """No object has this key."""

    @classmethod
    def describe(cls) -> str:
        """The words before the object key."""
        return "no object"


class ConditionFailedError(ObjectError):
    """A conditional request was refused (412, or 409 for a race of conditional writers)."""

    @classmethod
    def describe(cls) -> str:
        """The words before the object key."""
        return "the condition failed for"


class DeniedError(ObjectError):
    """The credentials may not do this (403): neither "missing" nor "present"."""

    @classmethod
    def describe(cls) -> str:
        """The words before the object key."""
        return "access denied to"


class CredentialsError(DeniedError):
    """The store does not take the credentials, for this request at least: they were changed, revoked, or something rewrites requests."""


class LockedError(ObjectError):
    """Object lock (retention or legal hold) forbids it."""

    @classmethod
    def describe(cls) -> str:
        """The words before the object key."""
        return "locked:"


class ArchivedError(ObjectError):
    """The object lies in an archive tier and must be restored first (InvalidObjectState)."""

    @classmethod
    def describe(cls) -> str:
        """The words before the object key."""
        return "archived:"


class EncryptedError(ObjectError):
    """The object is encrypted with a customer's key (SSE-C) that this tool does not have."""

    @classmethod
    def describe(cls) -> str:
        """The words before the object key."""
        return "encrypted with a customer key:"


class BadKeyError(ObjectError):
    """The store does not take this object key (400, or a 500 for a name that is too long)."""

    @classmethod
    def describe(cls) -> str:
        """The words before the object key."""
        return "the store does not take the key"


class FidelityError(ObjectError):
    """The copy would lose something that readers see (headers, metadata, tags)."""

    @classmethod
    def describe(cls) -> str:
        """The words before the object key."""
        return "would not arrive as it is:"


class ProofError(ObjectError):
    """The copy is not what was copied (ETag or size differs): it does not count."""

    @classmethod
    def describe(cls) -> str:
        """The words before the object key."""
        return "the copy is not proved:"


class StoreRequestError(ObjectError):
    """Any other answer of the store (500, an unknown code): counted as an attempt."""


class ServerStartError(PermanentError):
    """A process that this one started does not serve: ``ServerStartError(name, detail)``."""

    def __init__(self, name: str, detail: str = "") -> None:
        super().__init__(name, detail)
        self.name = name
        self.detail = detail

    def __str__(self) -> str:
        return f"the embedded {self.name} did not start" + (f": {self.detail}" if self.detail else "")


class DemonstrationError(PermanentError):
    """A part of the demonstration failed, so that it cannot go on."""
