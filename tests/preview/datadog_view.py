"""A Datadog event as HTML, near to the panel that Datadog shows it in."""

import datetime
import html
import json
import re

URL = re.compile(r"https?://[^\s<>\"]+")


def text_with_links(text):
    """Plain text; addresses can be followed."""
    parts, end = [], 0
    for found in URL.finditer(text):
        parts.append(html.escape(text[end : found.start()]))
        address = html.escape(found[0])
        parts.append(f'<a href="{address}" rel="noreferrer">{address}</a>')
        end = found.end()
    return "".join(parts) + html.escape(text[end:])


def inline(text):
    """Links, bold text and code of markdown; everything else as it stands."""
    done = []

    def keep(piece):
        done.append(piece)
        return f"\ue000{len(done) - 1}\ue001"

    text = re.sub("[\ue000\ue001]", "", text)
    text = re.sub(r"\\([\\`*_{}\[\]()#+\-.!|<>~%&])", lambda found: keep(html.escape(found[1])), text)
    text = re.sub(r"`([^`\n]+)`", lambda found: keep(f"<code>{html.escape(found[1])}</code>"), text)
    text = re.sub(
        r"\[([^\[\]]*)\]\((https?://[^\s()]+)\)",
        lambda found: keep(f'<a href="{html.escape(found[2])}" rel="noreferrer">{html.escape(found[1])}</a>'),
        text,
    )
    text = html.escape(text)
    text = re.sub(r"\*\*(?=\S)(.+?)(?<=\S)\*\*", r"<b>\1</b>", text)
    while re.search("\ue000\\d+\ue001", text):
        text = re.sub("\ue000(\\d+)\ue001", lambda found: done[int(found[1])], text)
    return text


def markdown(text):
    """The little of markdown that our events have: lines, and tables."""
    out, table = [], []

    def close():
        if table:
            head, *rows = table
            cells = lambda row, tag: "".join(f"<{tag}>{inline(cell.strip())}</{tag}>" for cell in row)  # noqa: E731
            body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
            out.append(f"<table><tr>{cells(head, 'th')}</tr>{body}</table>")
            table.clear()

    for line in text.split("\n"):
        if line.startswith("|"):
            row = re.split(r"(?<!\\)\|", line.strip())[1:-1]
            if not all(re.fullmatch(r"\s*:?-+:?\s*", cell) for cell in row):
                table.append(row)
            continue
        close()
        out.append(f"{inline(line)}<br>" if line.strip() else '<div class="gap"></div>')
    close()
    return "".join(out)


def body_text(text):
    found = re.fullmatch(r"%%%\s*\n(.*)\n\s*%%%\s*", text, re.DOTALL)
    return markdown(found[1]) if found else text_with_links(text)


def chips(tags):
    return "".join(f'<span class="tag">{html.escape(tag)}</span>' for tag in tags)


def panel(head, title, clock, text, rest, tags):
    return (
        f'<div class="datadog"><div class="head">{head}</div><div class="title"><b>{html.escape(title)}</b>'
        f'<span class="clock">{html.escape(clock)}</span></div><div class="text">{text}</div>{rest}'
        f'<div class="tags">{chips(tags)}</div></div>'
    )


def change(body):
    """An event of API v2."""
    attributes = body["data"]["attributes"]
    own = attributes.get("attributes", {})
    tags = attributes.get("tags", [])
    environment = [tag for tag in tags if tag.startswith("env:")]
    services = [resource["name"] for resource in own.get("impacted_resources", [])]
    if attributes.get("category") == "alert":
        kind = f"▲ Alert · {own.get('status', '')} · priority {own.get('priority', '5')}"
    else:
        resource = own.get("changed_resource", {})
        kind = f"▲ Change · {resource.get('type', '')} · {resource.get('name', '')}"
    author = own.get("author")
    by = f"<span>by {html.escape(author['name'])} ({html.escape(author['type'])})</span>" if author else ""
    head = f"<span>{html.escape(kind)}</span>{by}<span class=right>{chips(environment + services)}</span>"
    clock = attributes.get("timestamp", "time of receipt").replace("T", " ").removesuffix("Z").removesuffix(".000")
    sides = [("Previous", own.get("prev_value")), ("New", own.get("new_value"))]
    values = "".join(
        f"<div><div class=label>{label}</div><pre>{html.escape(json.dumps(value, ensure_ascii=False, indent=1))}</pre></div>"
        for label, value in sides
        if value is not None
    )
    links = "".join(f'<div><a href="{html.escape(link["url"])}" rel="noreferrer">{html.escape(link.get("title", link["url"]))}</a></div>' for link in own.get("links", []))
    rest = (f"<div class=values>{values}</div>" if values else "") + links
    return panel(head, attributes.get("title", ""), clock, body_text(attributes.get("message", "")), rest, tags)


def plain_event(body):
    """An event of API v1."""
    at = body.get("date_happened")
    clock = f"{datetime.datetime.fromtimestamp(at, datetime.timezone.utc):%Y-%m-%d %H:%M:%S}" if at else "time of receipt"
    kind = f"▲ Event · {body.get('source_type_name', '')} · {body.get('alert_type', 'info')} · {body.get('priority', 'normal')}"
    return panel(f"<span>{html.escape(kind)}</span>", body.get("title", ""), clock, body_text(body.get("text", "")), "", body.get("tags", []))


STYLE = """
.datadog { border: 1px solid #d7d9e0; border-left: 4px solid #632ca6; border-radius: 4px; color: #1c2b34; font-size: 14px; line-height: 1.5; overflow-wrap: anywhere; }
.datadog > div { padding: 8px 14px; }
.datadog .head { background: #f7f5fb; color: #632ca6; display: flex; flex-wrap: wrap; font-size: 12px; font-weight: 600; gap: 4px 14px; }
.datadog .head .right { margin-left: auto; }
.datadog .title { font-size: 16px; display: flex; gap: 16px; justify-content: space-between; }
.datadog .clock { color: #6b7280; flex: none; font-size: 12px; line-height: 24px; }
.datadog .text { border-bottom: 1px solid #e6e8ee; border-top: 1px solid #e6e8ee; white-space: pre-wrap; }
.datadog a { color: #006bc2; text-decoration: none; }
.datadog table { border-collapse: collapse; margin: 4px 0; white-space: normal; }
.datadog th, .datadog td { border-bottom: 1px solid #e6e8ee; padding: 3px 14px 3px 0; text-align: left; vertical-align: top; }
.datadog th { color: #6b7280; font-size: 12px; font-weight: 600; }
.datadog .gap { height: 8px; }
.datadog code { background: #f2f3f7; border-radius: 3px; font: 12px "DejaVu Sans Mono", monospace; padding: 1px 4px; }
.datadog .values { display: grid; gap: 14px; grid-template-columns: 1fr 1fr; }
.datadog .label { color: #6b7280; font-size: 12px; }
.datadog pre { background: #f7f8fa; border-radius: 4px; font: 12px/1.4 "DejaVu Sans Mono", monospace; margin: 2px 0 0; padding: 8px; white-space: pre-wrap; }
.datadog .tag { background: #eef0f5; border-radius: 3px; display: inline-block; font-size: 12px; font-weight: 400; margin: 2px 5px 2px 0; padding: 0 6px; color: #41505c; }
"""
