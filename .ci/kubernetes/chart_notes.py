"""The notes that Helm prints after an install: to the letter, and what they say to paste is right."""

import json
import os
import pathlib
import re
import shutil
import tempfile
import textwrap
import urllib.parse

import yaml
from chart_cases import GOOD, PLANTED
from chart_helm import CHART, DEFAULT_CONFIG, NAMESPACE, ROOT, VERSIONS, helm, rendered, run
from chart_rules import Given
from manifests import documents, of_kind

GOLDEN = pathlib.Path(__file__).parent / "golden"
CASES = ("default", "hub", "bearer", "emptydir", "several", "open", "signature-and-bearer", "file-source")
# What can be lost is told alike in the notes and in the documentation.
LOSS = ("lost, and nobody can tell; Flipt tries five times, then forgets",
        "goes with the pod, and with it whatever was not delivered",
        "safe; a forwarder keeps in its own journal what the hub has not taken")


def printed(program, values):
    """The notes. Helm 3 shows them to those who have a cluster alone: there a copy of the chart has them as an object."""
    said = helm(program, "install", values, "--dry-run=client")
    if said.returncode == 0:
        text = said.stdout.split("\nNOTES:\n", 1)[-1]
    else:
        with tempfile.TemporaryDirectory() as place:
            copy = pathlib.Path(place, "chart")
            shutil.copytree(CHART, copy)
            notes = copy / "templates" / "NOTES.txt"
            (copy / "templates" / "notes.yaml").write_text(
                '{{- define "notes" -}}\n' + notes.read_text() + '{{- end -}}\nkind: Notes\ntext: {{ include "notes" . | toJson }}\n')
            notes.unlink()
            said = helm(program, "template", values, "--show-only", "templates/notes.yaml", chart=copy)
        if said.returncode != 0:
            raise RuntimeError(said.stderr)
        text = documents(said.stdout)[0]["text"]
    return "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"


def pasted(program, given, objects, text):
    """Yields what is wrong of the blocks: Flipt's address is a Service, a forwarder's configuration passes."""
    services = {f"{service['metadata']['name']}.{NAMESPACE}.svc.cluster.local": service["spec"]
                for service in of_kind(objects, "Service")}
    urls = []
    for block in re.findall(r"(?:^    .*\n)+", text, re.MULTILINE):
        block = yaml.safe_load(textwrap.dedent(block))
        if "flipt" in block:
            sink = block["flipt"]["config"]["audit"]["sinks"]["webhook"]
            urls += [sink["url"]] if "url" in sink else [template["url"] for template in sink["templates"]]
            for variable in block["flipt"].get("extraEnvVars", []):
                secret = variable.get("valueFrom", {}).get("secretKeyRef")
                if variable["name"] != "FLIPT_AUDIT_SINKS_WEBHOOK_SIGNING_SECRET":
                    yield f"Flipt knows no {variable['name']}"
                if secret and f"/{secret['key']}" not in json.dumps(given.config["sources"]):
                    yield f"the relay does not read {secret['key']}"
        if "destinations" in block:
            urls.append(block["destinations"]["hub"]["url"] + "/v1/events")
            block |= {"name": "forwarder", "sources": {"flipt": {"type": "file", "path": "/var/log/flipt/audit.log"}}}
            with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                yaml.safe_dump(block, file)
                done = run([program, "check", "--no-environment", "-c", file.name])
            if done.returncode != 0:
                yield f"the forwarder's configuration: {done.stdout}{done.stderr}"
    for url in urls:
        address = urllib.parse.urlsplit(url)
        ports = {port["port"] for port in services.get(address.hostname, {}).get("ports", [])}
        if address.path != "/v1/events" or address.port not in ports:
            yield f"{url} is no Service"
    # Flipt cannot sign and show a token at once.
    usable = [source for source in given.http.values() if not ("bearer" in source and "signing" in source)]
    if len(urls) != len(usable):
        yield f"{len(urls)} addresses for {len(usable)} sources"


def wrong_notes(helms, program):
    """Yields what is wrong of the notes. With UPDATE_GOLDEN=1 the golden ones are written first."""
    for name in CASES:
        values, golden = GOOD[name], GOLDEN / f"notes-{name}.txt"
        for each in helms:
            text = printed(each, values)
            if os.environ.get("UPDATE_GOLDEN"):
                GOLDEN.mkdir(exist_ok=True)
                golden.write_text(text)
            if not golden.exists() or golden.read_text() != text:
                yield f"{name}: {each} differs from {golden.name} (UPDATE_GOLDEN=1 writes it):\n{text}"
            if PLANTED in text:
                yield f"{name}: a secret shows"
            objects, _ = rendered(each, values, VERSIONS[-1])
            yield from (f"{name}: {what}" for what in pasted(program, Given(values, DEFAULT_CONFIG), objects, text))
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    golden = " ".join(" ".join(file.read_text() for file in GOLDEN.glob("notes-*.txt")).split())
    for sentence in LOSS:
        if sentence not in page or sentence not in golden:
            yield f"not in docs/kubernetes.md and in the notes: {sentence}"
