"""Tests of the previewer: what it shows, and that nothing of a body becomes markup or script."""

import datetime
import html.parser
import importlib.machinery
import importlib.util
import json
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
loader = importlib.machinery.SourceFileLoader("preview", str(HERE / "preview"))
preview = importlib.util.module_from_spec(importlib.util.spec_from_loader("preview", loader))
loader.exec_module(preview)

import datadog_view  # noqa: E402
import inputs  # noqa: E402
import slack_view  # noqa: E402

UTC = datetime.timezone.utc
HOSTILE = [
    "<script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "*<b>*",
    "`<i>`",
    "```<u>```",
    "\ue0000\ue001 \ue00099\ue001",
    "[x](javascript:alert(1))",
    "[x](https://example.com/\"onclick=\"alert(1))",
    "| <td> | ** | \\| |",
    "%%% \n<h1>\n %%%",
    "&lt;script&gt;&amp;lt;",
    "<https://example.com/\"onclick=\"alert(1)|x>",
    "<javascript:alert(1)|x>",
    "<!date^99999999999999999999^{time}|x>",
    "<!date^1^<b>|x>",
]


class Elements(html.parser.HTMLParser):
    """The elements and attributes that a page has."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.attributes, self.addresses = set(), set(), set()
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.add(tag)
        self.attributes.update(name for name, _ in attributes)
        self.addresses.update(value for name, value in attributes if name in ("href", "src"))


class Preview(unittest.TestCase):
    def test_slack_markup_is_shown(self):
        for text, expected in [
            ("*Ann* turned _it_ ~off~ `ON`", "<b>Ann</b> turned <i>it</i> <s>off</s> <code>ON</code>"),
            ("a*b*c 2 * 3 * 4 snake_case_name", "a*b*c 2 * 3 * 4 snake_case_name"),
            ("a\nb", "a<br>b"),
            ("&lt;!channel&gt; &amp;amp;", "&lt;!channel&gt; &amp;amp;"),
            ("<!channel>", '<span class="mention">&lt;!channel&gt;</span>'),
            ("*<https://example.com/?a&amp;b|x>*", '<b><a href="https://example.com/?a&amp;b" rel="noreferrer">x</a></b>'),
            ("<!date^1795356842^{time}|14:14 UTC>", "2:14 PM"),
            ("<!date^1795356842^{date_short} at {time_secs}|x>", "Nov 22, 2026 at 2:14:02 PM"),
        ]:
            self.assertEqual(slack_view.mrkdwn(text, UTC), expected)

    def test_the_zone_is_the_readers(self):
        east = datetime.timezone(datetime.timedelta(hours=1))
        self.assertEqual(slack_view.mrkdwn("<!date^1795356842^{time}|x>", east), "3:14 PM")

    def test_datadog_markdown_is_shown(self):
        text = "%%% \n**Ann** `x`\n\n| What | Before |\n|---|---|\n| Enabled | off\\|on |\n\n[Open](https://example.com/)\n %%%"
        shown = datadog_view.body_text(text)
        for expected in ["<b>Ann</b> <code>x</code>", "<th>What</th>", "<td>off|on</td>", '<a href="https://example.com/"']:
            self.assertIn(expected, shown)
        self.assertEqual(datadog_view.body_text("**a** <b>"), "**a** &lt;b&gt;")

    def test_nothing_in_a_body_becomes_markup(self):
        quiet = Elements(preview.page(list(self.of("x")), UTC))
        for text in HOSTILE:
            page = preview.page(list(self.of(text)), UTC)
            elements = Elements(page)
            ours = {"b", "i", "s", "u", "code", "pre", "a", "br", "blockquote", "table", "tr", "th", "td"} - {"u"}
            self.assertLessEqual(elements.elements, quiet.elements | ours, text)
            self.assertLessEqual(elements.attributes, quiet.attributes | {"href", "rel"}, text)
            self.assertTrue(all(address.startswith("http") for address in elements.addresses), text)

    def of(self, text):
        said = {"type": "mrkdwn", "text": text}
        blocks = [{"type": "section", "text": said, "fields": [said]}, {"type": "context", "elements": [said]}]
        blocks += [{"type": "header", "text": {"type": "plain_text", "text": text}}, {"type": text}]
        yield text, inputs.SLACK, {"text": text, "blocks": blocks}
        own = {"changed_resource": {"type": text, "name": text}, "author": {"type": text, "name": text}}
        own |= {"prev_value": {text: text}, "new_value": {text: text}, "impacted_resources": [{"name": text}]}
        attributes = {"title": text, "message": text, "tags": [text], "timestamp": text, "attributes": own}
        yield text, inputs.DATADOG_V2, {"data": {"type": "event", "attributes": attributes}}
        yield text, inputs.DATADOG_V1, {"title": text, "text": f"%%% \n{text}\n %%%", "tags": [text]}

    def test_every_form_of_input_is_read(self):
        slack, plain = {"text": "a", "blocks": []}, {"title": "a", "text": "b"}
        change = {"data": {"type": "event", "attributes": {}}}
        kinds = [inputs.SLACK, inputs.DATADOG_V1, inputs.DATADOG_V2]
        bodies = [slack, plain, change]
        for text in [json.dumps(bodies), json.dumps({"x": bodies}), "\n".join(map(json.dumps, bodies))]:
            self.assertEqual([kind for _, kind, _ in inputs.bodies(text)], kinds)
        golden = "# turned on\n    Ann turned it on\n  | *Ann* turned it on\n  | a row\n  ~ context\n# other\n    b\n"
        (caption, _, body), _ = inputs.bodies(golden)
        self.assertEqual((caption, body["text"], len(body["blocks"])), ("turned on", "Ann turned it on", 2))
        self.assertEqual(body["blocks"][0]["text"]["text"], "*Ann* turned it on\na row")
        golden = 'Ann did\n%%% \ntext\n %%%\n{"tags":["a:b"]}\n\nBen did\n%%% \nother\n %%%\n{}\n'
        self.assertEqual([body["title"] for _, _, body in inputs.bodies(golden)], ["Ann did", "Ben did"])


if __name__ == "__main__":
    unittest.main()
