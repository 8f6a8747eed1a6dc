"""The words of a command line of ``spcl train`` before they are parsed: several data sets, and values needed early."""

from __future__ import annotations

from collections.abc import Sequence


def with_joined_data(arguments: Sequence[str]) -> list[str]:
    """A command line with several sources, and several targets, each as one value.

    ``--source a --source b`` and ``--source a b`` are ``--source a+b``, and ``--target`` is read in the same way; words
    without a flag at the beginning are targets. ``--source a b`` without another target is a source and a target.

    Raises:
        InputError: If the data sets cannot be combined.
    """
    words = list(arguments)
    has_target = not words or words[0][:1] != "-" or any(word.partition("=")[0] == "--target" for word in words)
    words = _joined(_joined(words, "--source", takes_all=has_target), "--target", takes_all=True)
    start = 0
    if words and words[0][:1] == "-":
        # Without another target, what follows the source are targets.
        source = next((at for at, word in enumerate(words) if word.partition("=")[0] == "--source"), None)
        if has_target or source is None:
            return words
        start = source + (1 if "=" in words[source] else 2)
    end = next((at for at in range(start, len(words)) if words[at][:1] == "-"), len(words))
    if end - start < 2:
        return words
    from spcl.data.combined_sources import joined_sources

    return [*words[:start], joined_sources(words[start:end]), *words[end:]]


def _joined(words: list[str], flag: str, *, takes_all: bool) -> list[str]:
    """A command line with the values of a flag as one value, at its end; unchanged where there are fewer than two.

    Args:
        words: The command line.
        flag: Its value follows it, or follows ``=``.
        takes_all: Whether all words after its value, up to the next flag, are values as well.
    """
    values: list[str] = []
    taken: set[int] = set()
    for at in (at for at, word in enumerate(words) if word.partition("=")[0] == flag):
        _, equals, value = words[at].partition("=")
        end = at + 1
        while end < len(words) and words[end][:1] != "-" and (takes_all or (not equals and end == at + 1)):
            end += 1
        values += [*([value] if equals else []), *words[at + 1 : end]]
        taken.update(range(at, end))
    if len(values) < 2:
        return words
    from spcl.data.combined_sources import joined_sources

    return [*(word for at, word in enumerate(words) if at not in taken), flag, joined_sources(values)]


def value_of(flag: str, words: Sequence[str], default: str) -> str:
    """The value that the parser takes: the last one; in the name of a flag _ is as good as -."""
    for at in reversed(range(len(words))):
        name, equals, value = words[at].partition("=")
        if name.replace("_", "-") == flag and (equals or at + 1 < len(words)):
            return value if equals else words[at + 1]
    return default
