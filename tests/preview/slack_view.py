"""A Slack message as HTML, near to how Slack shows it. What is not understood shows as it stands."""

import datetime
import html
import re

# What stands for a finished piece of HTML while the rest is worked on; text that brings its own loses it.
PLACE = re.compile("\ue000(\\d+)\ue001")

PIECES = re.compile(r"```(?P<block>.+?)```|`(?P<code>[^`\n]+)`|<(?P<sequence>[^<>]*)>", re.DOTALL)
EMOJI = {"tada": "🎉", "warning": "⚠️", "white_check_mark": "✅", "x": "❌", "red_circle": "🔴", "large_green_circle": "🟢"}


def plain(text):
    """Slack's three entities, undone, and made fit for HTML."""
    return html.escape(text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


def date(at, form, zone):
    """A date as Slack writes it for a reader of this zone; all of today's words are left out."""
    moment = datetime.datetime.fromtimestamp(at, zone)
    day = f"{moment:%b} {moment.day}"
    words = {
        "date_num": f"{moment:%Y-%m-%d}",
        "date": f"{moment:%B} {moment.day}, {moment.year}",
        "date_short": f"{day}, {moment.year}",
        "date_long": f"{moment:%A}, {moment:%B} {moment.day}, {moment.year}",
        "date_pretty": f"{moment:%B} {moment.day}, {moment.year}",
        "date_short_pretty": f"{day}, {moment.year}",
        "date_long_pretty": f"{moment:%A}, {moment:%B} {moment.day}, {moment.year}",
        "time": f"{moment.hour % 12 or 12}:{moment:%M %p}",
        "time_secs": f"{moment.hour % 12 or 12}:{moment:%M:%S %p}",
    }
    return re.sub(r"\{(\w+)\}", lambda found: words.get(found[1], found[0]), form)


def sequence(inside, zone):
    """What stands between < and >: a link, a date, or what would ping."""
    target, _, label = inside.partition("|")
    if re.match(r"https?://|mailto:", target):
        return f'<a href="{plain(target)}" rel="noreferrer">{plain(label or target)}</a>'
    found = re.fullmatch(r"!date\^(\d+)\^([^^]*)(?:\^(.*))?", target)
    if found:
        try:
            return plain(date(int(found[1]), found[2], zone))
        except (ValueError, OverflowError, OSError):
            return plain(label)
    return f'<span class="mention">{plain("<" + inside + ">")}</span>'


def mrkdwn(text, zone):
    """Slack's markup as HTML."""
    done = []

    def keep(piece):
        done.append(piece)
        return f"\ue000{len(done) - 1}\ue001"

    def finished(found):
        if found["block"] is not None:
            return keep(f"<pre>{plain(found['block'].strip())}</pre>")
        if found["code"] is not None:
            return keep(f"<code>{plain(found['code'])}</code>")
        return keep(sequence(found["sequence"], zone))

    text = PIECES.sub(finished, re.sub("[\ue000\ue001]", "", text))
    text = plain(text)
    for mark, tag in (("*", "b"), ("_", "i"), ("~", "s")):
        mark = re.escape(mark)
        text = re.sub(rf"(?<![\w{mark}]){mark}(?=\S)([^\n]+?)(?<=\S){mark}(?![\w{mark}])", rf"<{tag}>\1</{tag}>", text)
    text = re.sub(r":(\w+):", lambda found: EMOJI.get(found[1], found[0]), text)
    lines = (f"<blockquote>{line[5:]}</blockquote>" if line.startswith("&gt; ") else f"{line}<br>" for line in text.split("\n"))
    text = "".join(lines).removesuffix("<br>")
    while PLACE.search(text):
        text = PLACE.sub(lambda found: done[int(found[1])], text)
    return text


def words(element, zone):
    """A text object."""
    if element.get("type") == "mrkdwn":
        return mrkdwn(element.get("text", ""), zone)
    return plain(element.get("text", "")).replace("\n", "<br>")


def block(given, zone):
    kind = given.get("type")
    if kind == "header":
        return f'<h3>{words(given["text"], zone)}</h3>'
    if kind == "divider":
        return "<hr>"
    if kind == "context":
        elements = "".join(f"<span>{words(element, zone)}</span>" for element in given.get("elements", []))
        return f'<div class="context">{elements}</div>'
    if kind == "actions":
        buttons = "".join(f'<span class="button">{words(button["text"], zone)}</span>' for button in given.get("elements", []))
        return f"<div>{buttons}</div>"
    if kind == "section":
        text = f'<div>{words(given["text"], zone)}</div>' if "text" in given else ""
        fields = "".join(f"<div>{words(field, zone)}</div>" for field in given.get("fields", []))
        return f'<div class="section">{text}{f"<div class=fields>{fields}</div>" if fields else ""}</div>'
    return f'<div class="unknown">{html.escape(repr(given))}</div>'


def message(body, zone, at=None):
    """The whole message, and above it what a phone shows of it."""
    blocks = body.get("blocks")
    shown = "".join(block(one, zone) for one in blocks) if blocks else f"<div>{mrkdwn(body.get('text', ''), zone)}</div>"
    clock = date(at if at is not None else 1795356860, "{time}", zone)
    return (
        f'<div class="phone"><b>Flipt Changes</b> {plain(body.get("text", ""))}</div>'
        f'<div class="slack"><div class="face">⚑</div><div class="message"><b class="name">Flipt Changes</b> '
        f'<span class="app">APP</span> <span class="clock">{clock}</span>{shown}</div></div>'
    )


STYLE = """
.phone { background: #e9e9ee; border-radius: 12px; color: #333; font-size: 13px; margin: 0 0 10px; padding: 8px 12px; white-space: pre-line; }
.slack { display: flex; gap: 8px; font-size: 15px; line-height: 1.47; color: #1d1c1d; }
.slack .face { flex: none; width: 36px; height: 36px; border-radius: 4px; background: #4a154b; color: #fff; font-size: 22px; line-height: 36px; text-align: center; }
.slack .message { min-width: 0; overflow-wrap: anywhere; }
.slack .name { font-weight: 900; }
.slack .app { background: #e8e8e8; border-radius: 2px; color: #616061; font-size: 10px; font-weight: 700; padding: 1px 3px; }
.slack .clock { color: #616061; font-size: 12px; }
.slack a { color: #1264a3; text-decoration: none; }
.slack h3 { font-size: 18px; font-weight: 900; margin: 8px 0 4px; }
.slack .section { margin: 0 0 8px; white-space: pre-wrap; }
.slack .fields { display: grid; grid-template-columns: 1fr 1fr; gap: 6px 12px; margin-top: 4px; }
.slack .context { color: #616061; font-size: 13px; line-height: 1.38; margin: 4px 0; display: flex; flex-wrap: wrap; gap: 4px 10px; white-space: pre-wrap; }
.slack code { background: #f6f6f6; border: 1px solid #ddd; border-radius: 3px; color: #c01343; font: 12px "DejaVu Sans Mono", monospace; padding: 1px 3px; }
.slack pre { background: #f8f8f8; border: 1px solid #ddd; border-radius: 4px; font: 12px "DejaVu Sans Mono", monospace; padding: 8px; white-space: pre-wrap; }
.slack blockquote { border-left: 4px solid #ddd; margin: 0; padding-left: 8px; }
.slack .button { border: 1px solid #ccc; border-radius: 4px; display: inline-block; font-size: 13px; font-weight: 700; margin: 4px 8px 4px 0; padding: 3px 12px; }
.slack .mention { background: #fdf2b9; color: #b3261e; font-weight: 700; }
.slack hr { border: 0; border-top: 1px solid #ddd; }
.slack .unknown { background: #fdd; font-family: monospace; }
"""
