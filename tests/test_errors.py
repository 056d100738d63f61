from __future__ import annotations

import inspect

import pytest

from mien import errors

BUILT_IN = {
    "ShapeError": ValueError,
    "LabelError": ValueError,
    "OptionError": ValueError,
    "InputError": ValueError,
    "TooManyPixelsError": ValueError,
    "InputNotFoundError": FileNotFoundError,
    "WeightsError": RuntimeError,
    "DataNotFoundError": FileNotFoundError,
    "DataError": ValueError,
    "ProtocolError": ValueError,
    "CheckpointError": RuntimeError,
    "TrainingError": RuntimeError,
    "LanguageModelError": RuntimeError,
    "BatchError": RuntimeError,
    "MissingExtraError": ImportError,
    "UnknownNameError": KeyError,
}


def test_the_list_of_errors_is_whole() -> None:
    found = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and value is not errors.MienError
    }
    assert found - {"Iterable"} == set(BUILT_IN)


@pytest.mark.parametrize(("name", "built_in"), BUILT_IN.items())
def test_each_error_is_a_mien_error_and_the_built_in(name: str, built_in: type[Exception]) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, errors.MienError)
    assert issubclass(kind, built_in)


@pytest.mark.parametrize("name", sorted(set(BUILT_IN) - {"UnknownNameError"}))
def test_the_message_is_shown_as_it_was_written(name: str) -> None:
    message = "expected a cat, got a dog. Look again."
    assert str(getattr(errors, name)(message)) == message


def test_unknown_name_suggests_a_close_one() -> None:
    error = errors.UnknownNameError("shipped network", "expresion", ["yunet", "expression"])
    assert (
        str(error) == "no shipped network 'expresion'. Did you mean 'expression'? Known: expression, yunet."
    )


def test_unknown_name_without_a_close_one_lists_what_there_is() -> None:
    assert str(errors.UnknownNameError("template", "xyz", ["abc"])) == "no template 'xyz'. Known: abc."
    assert str(errors.UnknownNameError("template", 7, [])) == "no template 7. Known: none."


def test_a_missing_input_is_also_an_input_error() -> None:
    assert issubclass(errors.InputNotFoundError, errors.InputError)
