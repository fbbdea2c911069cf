"""The chart and `audit-relay check` call the same keys secret: both are shown a configuration in which every key of the relay's
schema has a text, and say where a secret stands in place.
"""

import json
import re
import tempfile

import yaml
from chart_cases import PLANTED
from chart_helm import ROOT, helm, run

# Texts that are secret at some keys and not at others.
TEXTS = [PLANTED, f"https://user:{PLANTED}@h.example.com/p", f"https://h.example.com/p?key={PLANTED}", "https://h.example.com/p",
         f"http://{PLANTED}@h.example.com", "https://h.example.com/p@q#a?b", f"//u@{PLANTED}", f"HTTPS://h.example.com?{PLANTED}", 7]
# Names of headers, some of which hold secrets.
HEADERS = ["Authorization", "cookie", "X-API-Key", "x-apikey", "X-Token-Of", "x-password", "client-secret", "X-Source", "url",
           "api_key"]
# Names in other maps whose keys people choose, which mean nothing there.
NAMES = ["a_name", "token", "url", "env"]
# What must have been met, lest nothing be compared.
KNOWN = {"token", "bearer", "password", "secrets", "api_key", "app_key", "webhook_url", "url", "proxy", "endpoint",
         "external_url", "Authorization"}
BY_RELAY = re.compile(r"^\S+:\d+:\d+: (\S+): a secret is written in place", re.MULTILINE)
BY_CHART = re.compile(r"a secret is written in place at `(.*?)`\. It would")


def filled(schema, root, text):
    """A value for a part of the relay's schema in which every text is `text`; None where there is no text in it."""
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if "const" in schema:
        return schema["const"]
    choices = schema.get("anyOf", []) + schema.get("oneOf", [])
    for choice in sorted(choices, key=lambda choice: choice.get("type") != "object"):
        if choice.get("$ref") != "#/$defs/Reference" and "enum" not in choice and choice.get("type") != "array":
            value = filled(choice, root, text)
            if value is not None:
                return value
    if schema.get("type") == "object":
        found = {key: filled(part, root, text) for key, part in schema.get("properties", {}).items()}
        if isinstance(schema.get("additionalProperties"), dict):
            of_headers = "+" in schema.get("propertyNames", {}).get("pattern", "")
            found |= {key: filled(schema["additionalProperties"], root, text) for key in (HEADERS if of_headers else NAMES)}
        return {key: value for key, value in found.items() if value is not None}
    if schema.get("type") == "array":
        item = filled(schema["items"], root, text)
        return None if item is None else [item]
    if schema.get("type") == "string":
        return schema["enum"][0] if "enum" in schema else text
    return None


def configuration(root, text):
    """A configuration with every kind of source and destination, wrong in most respects."""
    left_out = ("sources", "destinations", "data_dir", "include", "owners", "routes", "tests")
    config = {key: filled(part, root, text) for key, part in root["properties"].items() if key not in left_out}
    config = {key: value for key, value in config.items() if value is not None}
    for section, kind in (("sources", "http"), ("destinations", "webhook")):
        kinds = root["$defs"][section.removesuffix("s").title()]["oneOf"]
        config[section] = {kind["properties"]["type"]["const"]: filled(kind, root, text) for kind in kinds}
        signing = [{"scheme": "flipt", "secrets": [text, {"file": "/etc/audit-relay/secrets/a"}]},
                   {"scheme": "github", "secrets": text}]
        config[section]["lists"] = {"type": kind, "signing": signing}
    return yaml.safe_dump(config)


def disagreements(helms, program):
    """Yields where the two differ, and where a secret shows in what Helm says."""
    root = json.loads((ROOT / "config" / "audit-relay.schema.json").read_text())
    seen = set()
    for text in TEXTS:
        config = configuration(root, text)
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(config)
            file.flush()
            said = run([program, "check", "--no-environment", "-c", file.name])
        by_relay = set(BY_RELAY.findall(said.stdout + said.stderr))
        seen |= by_relay
        for each in helms:
            done = helm(each, "template", json.dumps({"config": config}))
            found = BY_CHART.search(done.stderr)
            by_chart = set(found[1].split("`, `")) if found else set()
            if by_chart != by_relay:
                yield (f"{text!r} by {each}: only the chart says {sorted(by_chart - by_relay)}, only the relay "
                       f"{sorted(by_relay - by_chart)}; {'' if found else done.stderr}")
            if PLANTED in done.stderr:
                yield f"{each} shows the secret: {done.stderr}"
    met = {re.sub(r"\[\d+\]$", "", path).rsplit(".", 1)[1] for path in seen}
    if KNOWN - met:
        yield f"never met: {sorted(KNOWN - met)}"
