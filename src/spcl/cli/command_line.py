"""From the words of a command line to the options of a command, with one help text and one kind of error for all.

The parser is tyro's. What it refuses is looked at once more, to name the fault in one line with a code.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from difflib import get_close_matches
from io import StringIO
from typing import Any, TypeVar

import tyro

from spcl.cli.computing import CommandOptions
from spcl.cli.described_flags import Flag, described_flags
from spcl.cli.help_text import help_text, value_of
from spcl.errors import InputError
from spcl.launched import is_main_process

Options = TypeVar("Options", bound=CommandOptions)


def options_of(
    kind: type[Options], arguments: Sequence[str], prog: str, *, default: Options | None = None, flat: bool = False
) -> Options:
    """The options that a command line gives, their ranges not yet checked. ``--help`` prints and ends.

    Args:
        kind: The options of the command.
        arguments: The words after its name.
        prog: Name of the program in messages.
        default: Values of the flags that are not given; None: those of ``kind``.
        flat: Flags of nested options have no prefix.

    Raises:
        InputError: If a flag is unknown, an argument is missing or superfluous, or a value is of the wrong type.
    """
    words = list(arguments)
    if {"-h", "--help"} & set(words[: words.index("--")] if "--" in words else words):
        if is_main_process():
            print(help_text(kind, prog, default))
        raise SystemExit(0)
    given: dict[str, Any] = {} if default is None else {"default": default}
    flags = described_flags(kind, default)
    refuse_valued_switches(words, flags, prog)
    try:
        # Some of the parser's messages are printed whatever it is asked for.
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            options: Options = tyro.cli(
                kind,
                args=words,
                prog=prog,
                config=(tyro.conf.FlagCreatePairsOff, *((tyro.conf.OmitArgPrefixes,) if flat else ())),
                console_outputs=False,
                **given,
            )
    except SystemExit as ended:
        raise _refused_setting(ended, flags) or _fault(words, flags, prog) from None
    return options


def refuse_valued_switches(words: Sequence[str], flags: Sequence[Flag], prog: str) -> None:
    """Raise an ``InputError`` for a switch with a value: the parser takes ``--json=false`` for ``--json``."""
    switches = {spelling for flag in flags if flag.is_switch for spelling in flag.spellings}
    for word in words:
        name, equals, value = word.partition("=")
        if equals and name.replace("_", "-") in switches:
            raise InputError(f"{name} takes no value, got {value!r}; {_pointer(prog)}", code="bad-value")


def _refused_setting(ended: SystemExit, flags: Sequence[Flag]) -> InputError | None:
    """The error of nested settings that refused a value, which the parser wraps; it names the flag."""
    error: BaseException | None = ended
    while error is not None and not isinstance(error, InputError):
        error = error.__context__
    if error is None:
        return None
    written, blank, rest = str(error).partition(" ")
    name = written.replace("_", "-")
    is_flag = any(flag.name == name for flag in flags)
    return InputError(f"--{name}{blank}{rest}" if is_flag else str(error), code=error.code)


def is_flag(word: str) -> bool:
    """Whether a word is a flag and no value: a negative number is a value."""
    return word.startswith("-") and word[1:2] not in ("", ".") and not word[1:2].isdecimal()


def _fault(words: Sequence[str], flags: Sequence[Flag], prog: str) -> InputError:
    """What is wrong with a command line that the parser has refused."""
    spelt = {spelling: flag for flag in flags for spelling in flag.spellings}
    rest: list[str] = []
    given: set[str] = set()
    at = 0
    while at < len(words):
        word, at = words[at], at + 1
        if word == "--":
            rest += words[at:]
            break
        if not is_flag(word):
            rest.append(word)
            continue
        name, equals, value = word.partition("=")
        flag = spelt.get(name.replace("_", "-"))
        if flag is None:
            return _unknown(name, list(spelt), prog)
        given.add(flag.name)
        values = [value] if equals else []
        while not (equals or flag.is_switch) and at < len(words) and not is_flag(words[at]):
            values.append(words[at])
            at += 1
            if not flag.is_many:
                break
        wrong = _wrong_value(name, flag, values)
        if wrong and not values:
            return InputError(f"{wrong}; {_pointer(prog)}", code="missing-argument")
        if wrong:
            return InputError(f"{wrong}; {_pointer(prog)}", code="bad-value")
    return _wrong_words(rest, given, flags, prog) or InputError(
        f"cannot understand {shlex.join(words)}; {_pointer(prog)}", code="bad-command-line"
    )


def _unknown(name: str, known: Sequence[str], prog: str) -> InputError:
    near = get_close_matches(name.replace("_", "-"), known, n=1)
    hint = f"did you mean {near[0]}? {_pointer(prog)}" if near else _pointer(prog)
    return InputError(f"{prog} has no flag {name}; {hint}", code="unknown-flag")


def _wrong_value(name: str, flag: Flag, values: Sequence[str]) -> str:
    if flag.is_switch:
        return ""
    if not values:
        return f"{name} expects {value_of(flag)} after it, and nothing is given"
    wrong = [value for value in values if not flag.accepts(value)]
    return f"{name} is {wrong[0]!r}; expected {_expected(flag)}" if wrong else ""


def _expected(flag: Flag) -> str:
    known = {int: "a whole number", float: "a number", str: "text"}
    return " or ".join(known.get(each, "a value") if isinstance(each, type) else str(each) for each in flag.types)


def _wrong_words(words: Sequence[str], given: set[str], flags: Sequence[Flag], prog: str) -> InputError | None:
    """The error for words without a flag that are too many, or for an argument that is missing."""
    positional = [flag for flag in flags if not flag.spellings]
    names = [value_of(flag) for flag in positional]
    if len(words) > len(positional) and not any(flag.is_many for flag in positional):
        surplus = " ".join(words[len(positional) :])
        message = f"{prog} takes {' '.join(names) or 'no words without a flag'}, and {surplus} is one word too many"
        if names[-1:] in (["IMAGES"], ["DATA"]):
            message = (
                f"{prog} takes {' '.join(names)}, and got {' '.join(words)}; for several folders give the folder above "
                "them, or a table (CSV) of all images with a column path"
            )
        return InputError(f"{message}; {_pointer(prog)}", code="too-many-arguments")
    missing = [value_of(flag) for flag in positional[len(words) :] if flag.is_required]
    missing += [
        f"{flag.spellings[-1]} {value_of(flag)}"
        for flag in flags
        if flag.spellings and flag.is_required and flag.name not in given
    ]
    if not missing:
        return None
    return InputError(
        f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing; {_pointer(prog)}",
        code="missing-argument",
    )


def _pointer(prog: str) -> str:
    return f"{prog} --help lists the flags"
