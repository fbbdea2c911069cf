"""What the fuzzer begins with: fuzz/corpus/TARGET/seed-*, the words that it puts in (TARGET.dict), and how long an
input may be (TARGET.max_len)."""

import json
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
CORPUS = HERE / "corpus"
FIXTURES = ROOT / "tests/fixtures/flipt"

# What means something to somebody who reads messages, JSON or logs.
MESSAGES = [
    '<!channel>', '<@U123456>', '<https://evil.example|good>', '@here', ':fire:', '```', '*ON*', '&amp;', '%%%',
    '\u202e', '\u200b', '\u2066', '😀', '👩\u200d💻', '| --- |', '](https://evil.example)', '\\u0000', '\\ud800',
    '\\n', '"enabled":true', '"enabled":false', '"payload":null', '"status":"denied"', '"action":"deleted"',
    '"action":"updated"', '"timestamp":"2026-11-22T07:40:10Z"', '1e400', '[[[[[[[[', '{"a":{"a":{"a":',
]
JSON_KEYS = [
    'version', 'type', 'action', 'metadata', 'payload', 'timestamp', 'status', 'actor', 'authentication', 'ip',
    'flag', 'segment', 'variant', 'constraint', 'rule', 'rollout', 'distribution', 'namespace', 'token', 'key',
    'namespace_key', 'flag_key', 'segment_key', 'name', 'description', 'enabled', 'attachment', 'match_type',
    'io.flipt.auth.email', 'io.flipt.auth.oidc.email', 'rank', 'threshold', 'percentage', 'value', 'property',
]
CRI = ['2026-11-22T07:40:10.25Z stdout P ', '2026-11-22T07:40:10.25Z stdout F ', ' stderr P ', ' stderr F ']
DATES = [
    'Sun, 06 Nov 1994 08:49:37 GMT', 'Sunday, 06-Nov-94 08:49:37 GMT', 'Sun Nov  6 08:49:37 1994',
    '18446744073709551615', '-1', '+1', ' 120 ', '3601', '0',
]
TEMPLATES = [
    '{{', '}}', '{%', '%}', '{#', '#}', 'for x in data', 'endfor', 'if data.before', 'elif', 'else', 'endif',
    '{{ data.type }}', '{{ data | tojson }}', '| urlencode', '| join(",")', '| default("x")', 'loop.index',
    'set x = ', 'macro m(a)', 'endmacro', 'range(1000000)', '"x" * 1000000', 'not not ', '~', '[:-1]', 'recursive',
    'data.payload', 'record.id', 'is defined', '{% raw %}', '{% endraw %}', '\u0001', '{"text": "', '"}',
]


def keys_of_the_schema(node):
    """Every name that may be written in a configuration."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "properties":
                yield from value
            if name in ("enum", "const"):
                yield from (word for word in (value if isinstance(value, list) else [value]) if isinstance(word, str))
            yield from keys_of_the_schema(value)
    elif isinstance(node, list):
        for value in node:
            yield from keys_of_the_schema(value)


def configurations():
    """Whole configurations: those of the repository and of its documentation."""
    for path in sorted((ROOT / "config").glob("*.yaml")):
        yield path.read_text()
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for block in path.read_text().split("```yaml\n")[1:]:
            yield block.split("```")[0]
    yield "sources:\n  a: {type: file, path: /x}\0LOG__LEVEL=debug\nSOURCES__A__PATH=/y"


def templates():
    """Templates: those of the documentation, and what each kind of content type may look like."""
    for text in configurations():
        if "template" in text:
            yield text
    yield '{"text": "{{ data.type }} {{ data.action }}", "id": "{{ id }}"}'
    yield '{% for change in data.changes %}{{ change | tojson }}\n{% endfor %}\0{{ id }}'
    yield '<p>{{ data.payload.name }}</p>'


def events():
    """Lines as Flipt writes them, of each version and framing."""
    for path in sorted([*FIXTURES.glob("*.ndjson"), *FIXTURES.glob("*.log"), *FIXTURES.glob("v0.2_stdout_*.txt")]):
        yield path.read_text().splitlines()


def seeds():
    """Of each target: its seeds, its words, and the length of an input in bytes at most."""
    files = list(events())
    lines = [line.encode() for file in files for line in file]
    whole = ["\n".join(file).encode() for file in files]
    some = [b"\n".join(lines[at : at + 6]) for at in range(0, len(lines), 6)]
    bodies = (FIXTURES / "v0.2_webhook_bodies.ndjson").read_bytes().splitlines()
    arrays = [b"[" + b",".join(bodies[at : at + 3]) + b"]" for at in range(0, len(bodies), 3)]
    schema = json.loads((ROOT / "config/audit-relay.schema.json").read_text())
    keys = sorted(set(keys_of_the_schema(schema)))
    told = MESSAGES + [f'"{key}":"' for key in JSON_KEYS]
    how = [bytes([number]) + text for number in range(8) for text in some]
    yield "configuration", [text.encode() for text in configurations()], [f"{key}: " for key in keys], 16384
    yield "datadog", how, told, 16384
    yield "events", lines + some, told + CRI, 16384
    yield "intake", lines + some + arrays, told, 16384
    yield "lines", [bytes([255, 0, 60, 9]) + text for text in whole + some], CRI, 65536
    yield "retry_after", [bytes(8) + date.encode() for date in DATES], DATES, 64
    yield "slack", how, told, 16384
    yield "templates", [bytes([number]) + text.encode() for number in range(4) for text in templates()], TEMPLATES, 8192


def quoted(word):
    """As dictionaries of libFuzzer are written."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in word.encode()) + '"'


def main():
    """Writes them all."""
    for target, texts, words, longest in seeds():
        directory = CORPUS / target
        directory.mkdir(parents=True, exist_ok=True)
        for number, text in enumerate(texts):
            (directory / f"seed-{number}").write_bytes(text[:longest])
        dictionary = "".join(quoted(word) + "\n" for word in words if len(word.encode()) < 64)
        (CORPUS / f"{target}.dict").write_text(dictionary)
        (CORPUS / f"{target}.max_len").write_text(str(longest))


if __name__ == "__main__":
    main()
