"""Bodies out of files: JSON of any form, one JSON text a line, and the golden files of this project."""

import json
import re

SLACK, DATADOG_V2, DATADOG_V1 = "slack", "datadog v2", "datadog v1"


def kind_of(value):
    """What a JSON value is the body of, if it is one."""
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("data"), dict) and value["data"].get("type") == "event":
        return DATADOG_V2
    if isinstance(value.get("title"), str) and isinstance(value.get("text"), str):
        return DATADOG_V1
    if isinstance(value.get("text"), str) and ("blocks" in value or "type" not in value):
        return SLACK
    return None


def found_in(value, caption=""):
    """Every body in a JSON value, wherever it stands, with where it stands."""
    kind = kind_of(value)
    if kind:
        yield caption, kind, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from found_in(inner, f"{caption} · {name}".strip(" ·"))
    elif isinstance(value, list):
        for inner in value:
            yield from found_in(inner, caption)


def golden_slack(text):
    """`# caption`, the notification, `|` for lines of a section and `~` for those of a context."""
    for part in re.split(r"^# ", text, flags=re.MULTILINE)[1:]:
        caption, *lines = part.rstrip("\n").split("\n")
        fallback, blocks, last = [], [], None
        for line in lines:
            mark, said = line[2:3], line[4:]
            if line.startswith("    "):
                fallback.append(said)
            elif mark in "|~" and mark:
                if mark != last:
                    blocks.append((mark, []))
                blocks[-1][1].append(said)
            last = mark
        yield caption, SLACK, {"text": "\n".join(fallback), "blocks": [block(mark, lines) for mark, lines in blocks]}


def block(mark, lines):
    said = {"type": "mrkdwn", "verbatim": True, "text": "\n".join(lines)}
    return {"type": "section", "text": said} if mark == "|" else {"type": "context", "elements": [said]}


def golden_plain(text):
    """A title, the text in `%%%`, and the other fields as JSON."""
    for title, said, rest in re.findall(r"^([^\n]+)\n(%%% \n.*?\n %%%)\n(\{[^\n]*\})$", text, flags=re.MULTILINE | re.DOTALL):
        yield title, DATADOG_V1, {"title": title, "text": said} | json.loads(rest)


def bodies(text):
    """All bodies of a file: caption, kind, body."""
    if text.startswith("# "):
        return list(golden_slack(text))
    try:
        return list(found_in(json.loads(text)))
    except ValueError:
        pass
    try:
        return [one for line in text.splitlines() if line.strip() for one in found_in(json.loads(line))]
    except ValueError:
        return list(golden_plain(text))
