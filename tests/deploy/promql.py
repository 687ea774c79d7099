"""What an expression of PromQL speaks of: the metrics, and what is done with each.

Enough of the language for alerts and dashboards; promtool says whether it is PromQL at all."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

#: Functions that make sense of what only rises, and of nothing else.
OF_COUNTERS: Final = frozenset({"rate", "irate", "increase", "resets"})
#: Functions of what rises and falls.
OF_GAUGES: Final = frozenset({"delta", "idelta", "deriv", "predict_linear", "avg_over_time", "max_over_time"})
_WORDS: Final = frozenset(
    {"and", "or", "unless", "on", "ignoring", "group_left", "group_right", "offset", "bool", "inf", "nan"}
)
_LABELS_FOLLOW: Final = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_TOKEN: Final = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*"|'[^']*')|(?P<range>\[[^\]]*\])|(?P<matchers>\{[^}]*\})"""
    r"""|(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)|(?P<other>\S)"""
)


class Use(NamedTuple):
    """A metric in an expression, and the functions around it, the innermost last."""

    metric: str
    functions: tuple[str, ...]


def uses(expression: str) -> list[Use]:
    """Every metric in it."""
    found: list[Use] = []
    around: list[str] = []
    called = ""
    labels = False
    # A string may hold what looks like the end of a matcher.
    for token in _TOKEN.finditer(re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)):
        text = token.group()
        if token.lastgroup == "name":
            if text in _LABELS_FOLLOW:
                # What they belong to is called behind them: sum by (le) (…).
                labels = True
                called = called if text in ("by", "without") else ""
            elif not labels:
                called = text
            if not labels and not expression_calls(expression, text) and text.lower() not in _WORDS:
                found.append(Use(text, tuple(name for name in around if name)))
        elif text == "(":
            around.append("" if labels else called)
            called = called if labels else ""
        elif text == ")":
            around.pop()
            labels = False
    return found


def expression_calls(expression: str, name: str) -> bool:
    """Whether the name is a function's or an aggregation's there."""
    return re.search(rf"\b{re.escape(name)}\s*(?:\(|by\s*\(|without\s*\()", expression) is not None
