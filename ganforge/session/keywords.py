"""Messages for Python: arguments of `ganforge.train` instead of flags."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ganforge.config.sources import CONFIG_KEYS, SWITCHES
from ganforge.contract.errors import GanforgeError
from ganforge.core.console import console

_FLAG = re.compile(
    r"""(?P<command>ganforge[ ][a-z][^`;,]*)  # a command remains one
    |--resume[ ]--(?P<budget>images|minutes)[ ](?P<total>\d+)
    |--set[ ](?P<key>[\w.]+)=(?P<value>[\w.:-]*\w)
    |(?P<flag>--[a-z][a-z-]*)(?:[ ](?P<word>[\w.:=,-]*\w))?""",
    re.VERBOSE,
)


def name_arguments(text: str, arguments: Mapping[str, inspect.Parameter]) -> str:
    """Replace the flags in a message by arguments of `ganforge.train`, or by its ``settings``.

    Args:
        text: The message. Commands in it stay as they are.
        arguments: Parameters of `ganforge.train`; those with the default () take a list.
    """

    def replace(found: re.Match[str]) -> str:
        flag, word = found["flag"], found["word"]
        if found["budget"]:
            return f"run.resume({found['budget']}={found['total']})"
        if found["key"]:
            return _setting(found["key"], found["value"])
        if found["command"] or flag is None:
            return found[0]
        after = f" {word}" if word else ""
        if flag in SWITCHES:
            return _setting(CONFIG_KEYS[flag], str(not flag.startswith("--no-"))) + after
        name = flag[2:].replace("-", "_")
        if name in arguments:
            if word and arguments[name].default == ():
                return f"{name}={[word]}"
            return f"{name}={word}" if word and word[0].isdigit() else name + after
        return _setting(CONFIG_KEYS[flag], word) if word and flag in CONFIG_KEYS else found[0]

    return _FLAG.sub(replace, text)


def _setting(key: str, value: str) -> str:
    plain = {"true": "True", "false": "False"}.get(value, value)
    is_literal = re.fullmatch(r"True|False|-?\d+(\.\d*)?(e-?\d+)?", plain)
    return f"settings={{'{key}': {plain if is_literal else repr(plain)}}}"


@contextmanager
def naming_arguments(arguments: Mapping[str, inspect.Parameter]) -> Iterator[None]:
    """Name arguments instead of flags in all that the block says or raises."""
    before, console.rephrase = console.rephrase, lambda text: name_arguments(text, arguments)
    try:
        yield
    except GanforgeError as error:
        error.message, error.hint = (name_arguments(each, arguments) for each in (error.message, error.hint))
        raise
    finally:
        console.rephrase = before
