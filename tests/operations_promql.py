"""Which series and labels the dashboard and the alert rules use, and which the service has."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from json import loads
from pathlib import Path
from typing import Any

import promql_parser
import yaml

# What Prometheus itself adds to every series, and the one series that it writes about its targets.
TARGET_LABELS = {"instance", "job"}
OF_PROMETHEUS: dict[str, set[str]] = {"up": set()}


@dataclass
class Exposition:
    """What a service's /metrics says."""

    samples: dict[str, set[str]] = field(default_factory=dict)
    families: dict[str, str] = field(default_factory=dict)

    def family(self, sample: str) -> str | None:
        """Return the family that a sample belongs to."""
        if sample in self.families:
            return sample
        base = re.sub(r"_(bucket|count|sum)$", "", sample)
        return base if self.families.get(base) in {"histogram", "summary"} else None


def read_exposition(text: str) -> Exposition:
    """Return the sample names with their labels, and the families with their types."""
    found = Exposition()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            found.families[name] = kind
        elif match := re.match(r"(?P<name>[a-zA-Z_:]\w*)(?:\{(?P<labels>.*)\})? ", line):
            labels = re.findall(r'(\w+)="(?:[^"\\]|\\.)*"', match["labels"] or "")
            found.samples.setdefault(match["name"], set()).update(labels)
    return found


def panels_of(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all panels: those in a collapsed row stand within it."""
    return [panel for outer in dashboard["panels"] for panel in (outer, *outer.get("panels", []))]


def dashboard_expressions(dashboard: Path) -> list[str]:
    """Return the expressions of all panels, Grafana's variables replaced by values."""
    document = loads(dashboard.read_text(encoding="utf-8"))
    panels = [target["expr"] for panel in panels_of(document) for target in panel.get("targets", [])]
    variables = [
        re.sub(r"label_values\((\w+), (\w+)\)", r"group by (\2) (\1)", variable["query"]["query"])
        for variable in document["templating"]["list"]
    ]
    return [text.replace("$__rate_interval", "5m") for text in (*panels, *variables)]


def alert_expressions(rules: Path) -> list[str]:
    """Return the expressions of all alert rules."""
    document = yaml.safe_load(rules.read_text(encoding="utf-8"))
    return [rule["expr"] for group in document["groups"] for rule in group["rules"]]


def sample_names(expression: str) -> set[str]:
    """Return the series that an expression reads."""
    return {selector.name for selector in _selectors(promql_parser.parse(expression))}


def unknown(expression: str, exposition: Exposition) -> list[str]:
    """Return what an expression names and the service does not have: series, or labels of a series."""
    known = exposition.samples | OF_PROMETHEUS
    missing: list[str] = []
    for selector, labels in _label_uses(promql_parser.parse(expression)):
        if selector.name not in known:
            missing.append(selector.name)
        else:
            absent = labels - known[selector.name] - TARGET_LABELS
            missing += [f"{selector.name}{{{label}}}" for label in sorted(absent)]
    return missing


def _nodes(expression: Any, kind: str) -> list[Any]:
    found: list[Any] = []

    def visit(node: Any) -> None:
        if type(node).__name__ == kind:
            found.append(node)

    promql_parser.walk(expression, visit)
    return found


def _selectors(expression: Any) -> list[Any]:
    return _nodes(expression, "VectorSelector")


def _label_uses(expression: Any) -> Iterator[tuple[Any, set[str]]]:
    """Yield each selector with the labels that it must have."""
    for selector in _selectors(expression):
        yield selector, {matcher.name for matcher in selector.matchers.matchers}
    for call in _nodes(expression, "Call"):
        if call.func.name == "label_join":
            for selector in _selectors(call):
                yield selector, {source.val for source in call.args[3:]}
    for aggregate in _nodes(expression, "AggregateExpr"):
        made = {
            call.args[1].val for call in _nodes(aggregate, "Call") if call.func.name in {"label_join", "label_replace"}
        }
        grouped = set(aggregate.modifier.labels) if aggregate.modifier else set()
        for selector in _selectors(aggregate.expr):
            yield selector, grouped - made
