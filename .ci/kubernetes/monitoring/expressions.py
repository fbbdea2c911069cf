"""What a PromQL expression names: metrics, labels, and values that it compares labels with."""

import re

WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "offset", "bool"}
# Labels that Prometheus or its operator gives to every series of a target.
OF_TARGETS = {"namespace", "pod", "job", "instance"}
# Metrics that Prometheus makes itself.
OF_PROMETHEUS = {"up": set()}

STRING = r'"(?:[^"\\]|\\.)*"'
SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*(\{[^}]*\})?")
MATCHER = re.compile(rf"(\w+)\s*(=~|!~|!=|=)\s*({STRING})")
GROUPING = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^()]*)\)")


def selectors(expression):
    """(metric, [(label, operator, value)]) of each selector."""
    bare = GROUPING.sub(" ", expression)
    bare = re.sub(r"\[[^\]]*\]", " ", bare)
    bare = re.sub(r"\boffset\s+-?\w+", " ", bare)
    for found in SELECTOR.finditer(bare):
        name, matchers = found.groups()
        before = bare[:found.start()]
        is_number = before[-1:].isdigit() or before[-1:] == "."
        is_function = matchers is None and bare[found.end():].lstrip().startswith("(")
        if name in WORDS or is_number or is_function:
            continue
        told = [(label, operator, value[1:-1]) for label, operator, value in MATCHER.findall(matchers or "")]
        yield name, told


def grouping(expression):
    """The labels by which it groups or matches."""
    labels = set()
    for _, names in GROUPING.findall(expression):
        labels |= {name.strip() for name in names.split(",") if name.strip()}
    return labels


def kept(expression):
    """The labels that `by` keeps, anywhere in it."""
    found = re.findall(r"\bby\s*\(([^()]*)\)", expression)
    return {name.strip() for names in found for name in names.split(",")}


def unknown(expression, exported):
    """Sentences on what the expression names and no relay exports."""
    labels = set(OF_TARGETS)
    for name, matchers in selectors(expression):
        known = exported.labels(name)
        if known is None:
            yield f"no relay exports {name}"
            continue
        labels |= known
        for label, operator, value in matchers:
            if label not in known | OF_TARGETS:
                yield f"{name} has no label {label}"
            elif operator in ("=", "!=") and not exported.has_value(name, label, value):
                yield f"{label} of {name} is never {value}"
    for label in grouping(expression) - labels:
        yield f"nothing in it has the label {label}"
