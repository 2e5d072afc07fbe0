"""The errors: one line each, and they survive the way between processes."""

from __future__ import annotations

import inspect
import pickle

import pytest

from app import errors
from app.object_keys import KeyRefusedError
from app.states import ParkedReason

CLASSES = [found for _, found in inspect.getmembers(errors, inspect.isclass) if found.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", CLASSES)
def test_error_survives_pickling(kind: type[errors.RekeyError]) -> None:
    """Type, fields and text are the same after a round trip."""
    error = kind("a/b.png", "no reason") if issubclass(kind, errors.ObjectError) else kind("it broke")

    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert (type(error), error.args, str(error)) == (type(again), again.args, str(again))


@pytest.mark.parametrize("kind", CLASSES)
def test_error_is_named_and_sorted(kind: type[errors.RekeyError]) -> None:
    """Every class ends in Error and says whether a repetition can help, unless it is the user's to mend."""
    assert kind.__name__.endswith("Error")
    assert issubclass(kind, errors.RekeyError)
    assert kind in {errors.RekeyError, errors.UsageError} or issubclass(kind, errors.TransientError | errors.PermanentError)


def test_object_error_names_what_where_and_why() -> None:
    """The text reads like the command: what, the key, the cause."""
    assert str(errors.MissingObjectError("up/a.png", "gone since 10:00")) == "no object 'up/a.png': gone since 10:00"
    assert str(errors.DeniedError("up/a.png")) == "access denied to 'up/a.png'"


def test_key_refused_error_survives_pickling() -> None:
    """The parked reason arrives as the reason that it was."""
    again = pickle.loads(pickle.dumps(KeyRefusedError(ParkedReason.BAD_NAME, "the file name is empty")))  # noqa: S301 - our own bytes

    assert ParkedReason.BAD_NAME is again.reason
    assert str(again) == "bad_name: the file name is empty"
