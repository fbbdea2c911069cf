"""Has the relay's own traces and metrics received by a real collector, PyPI `rotel`, by both protocols of OTLP.

    otlp_traces.py PROGRAM    PROGRAM: a built audit-relay

What the collector prints must hold the acceptance of an edit in a file and of a push that came with a trace, each
delivery linked to what it carries, the request below it, the relay as a resource, and every metric that the reference
names and this relay has. The judge must also refuse what is wrong.
"""

import copy
import http.server
import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request

from collector import Collector
from waiting import eventually, listening

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINES = (ROOT / "tests/fixtures/flipt/v0.2_logfile_encoding-json.log").read_text().splitlines()
LINE = next(line for line in LINES if json.loads(line)["type"] == "flag")
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

CONFIGURATION = """
name: pod-1
data_dir: {place}/data
environments: {{production: ["*"]}}
sources:
  flipt: {{type: file, path: {place}/audit.log}}
  push: {{type: http, listen: "127.0.0.1:0", signing: none, instance: pushed}}
destinations:
  siem: {{type: webhook, url: "http://127.0.0.1:{receiver}/hook", concurrency: 1}}
routes:
  all: {{to: [siem]}}
health: {{listen: "127.0.0.1:0"}}
admin: {{listen: "127.0.0.1:0"}}
"""

# Metrics that a relay without gaps, refusals and waiting records does not have.
NOT_ALWAYS = {
    "audit_relay_source_last_gap_timestamp_seconds",
    "audit_relay_destination_oldest_waiting_timestamp_seconds",
}


RESOURCE = {
    "service.name": "audit-relay", "service.instance.id": "pod-1", "telemetry.sdk.name": "opentelemetry",
    "telemetry.sdk.language": "rust",
    "telemetry.sdk.version": re.search(r'name = "opentelemetry_sdk"\nversion = "(.*)"', (ROOT / "Cargo.lock").read_text())[1],
}


class Receiver(http.server.ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.traceparents = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.server.traceparents.append(self.headers["traceparent"])
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


# How the collector prints an attribute, several, a link, what stands before spans, and a span.
ATTRIBUTE = r"^ +-> ([\w.]+): (Str|Int|Double|Bool)\((.*)\)\n"
ATTRIBUTES = r"(?: +-> [\w.]+: (?:Str|Int|Double|Bool)\(.*\)\n)+"
LINK = r"SpanLink #\d+\n +-> Trace ID: (\w{32})\n +-> ID: (\w{16})\n +-> TraceState: \n +-> DroppedAttributesCount: 0\n"
RESOURCE_PRINTED = rf"^Resource SchemaURL: .*\nResource attributes:\n({ATTRIBUTES})"
HEAD_PRINTED = rf"{RESOURCE_PRINTED}ScopeSpans #0\nScopeSpans SchemaURL: .*\nInstrumentationScope (.*)\n"
SPAN_PRINTED = re.compile(rf"""
    \ +Trace\ ID\ +:\ (?P<trace>\w{{32}})\n  \ +Parent\ ID\ +:\ (?P<parent>\w*)\n  \ +ID\ +:\ (?P<id>\w{{16}})\n
    \ +Name\ +:\ (?P<name>.*)\n  \ +Kind\ +:\ (?P<kind>\w+)\n
    Start\ time:\ (?P<start>\d+)\n  End\ time:\ (?P<end>\d+)\n
    \ +Status\ code\ +:\ (?P<status>\w+)\n  \ +Status\ message\ :\ \n
    Attributes:\n(?P<attributes>{ATTRIBUTES.replace(" ", "[ ]")})
    (?:Links:\n(?P<links>(?:SpanLink.*\n(?:[ ].*\n)+)+))?
    (?:\x1b.*\n)*  # what the collector says of itself when it ends
    """, re.VERBOSE)


def spans(printed):
    """Every span that was printed, with its resource. What is printed otherwise than is known here is an error."""
    found = []
    for resource in re.split(r"^ResourceSpans #\d+\n", printed, flags=re.M)[1:]:
        head, *parts = re.split(r"^Span #\d+\n", resource, flags=re.M)
        of = re.fullmatch(HEAD_PRINTED, head)
        assert of, head
        for part in parts:
            span = SPAN_PRINTED.fullmatch(part)
            assert span, part
            links = re.findall(LINK, span["links"] or "")
            assert len(links) == (span["links"] or "").count("SpanLink #"), part
            found.append({
                "resource": attributes(of[1]), "scope": of[2], "attributes": attributes(span["attributes"]),
                "links": links, "took": int(span["end"]) - int(span["start"]),
                **{key: span[key] for key in ("trace", "parent", "id", "name", "kind", "status")},
            })
    return found


def attributes(text):
    found = re.findall(ATTRIBUTE, text, flags=re.M)
    assert len({key for key, _, _ in found}) == len(found) == text.count("\n"), text
    return {key: READ[kind](value) for key, kind, value in found}


READ = {"Str": str, "Int": int, "Double": float, "Bool": lambda text: {"true": True, "false": False}[text]}

# What cannot be known beforehand: of this type, and not less than nothing.
SOME_SECONDS, SOME_BYTES, SOME_TEXT = float, int, str


def compare(told, wanted, what):
    """Each attribute is there, is what is wanted and of its type, and nothing else is there."""
    assert told.keys() == wanted.keys(), f"{what}: {sorted(told.keys() ^ wanted.keys())} there or not there"
    for key, want in wanted.items():
        if isinstance(want, type):
            assert isinstance(told[key], want) and (told[key] if want is str else told[key] >= 0), f"{what}: {key}"
        else:
            assert type(told[key]) is type(want) and told[key] == want, f"{what}: {key} is {told[key]!r}, not {want!r}"


def messaging(name, kind, where):
    return {"messaging.system": "flipt_audit", "messaging.operation.name": name, "messaging.operation.type": kind,
            "messaging.destination.name": where, "messaging.message.body.size": len(LINE.encode())}


def the_one(all_spans, wanted, what):
    found = [span for span in all_spans if wanted(span)]
    assert len(found) == 1, f"{len(found)} spans are {what}"
    return found[0]


def judge(all_spans, traceparents, receiver):
    """Whether the spans, and no others, tell of one line of a file and one push, and their deliveries to `receiver`."""
    assert len(all_spans) == 6, [span["name"] for span in all_spans]
    for span in all_spans:
        compare(span["resource"], RESOURCE, "the resource")
        assert span["scope"] == f"audit-relay {RESOURCE['service.version']}", span
        assert span["status"] == "STATUS_CODE_UNSET" and span["took"] >= 0, span
    event = json.loads(LINE)
    for source, kind, parent in [("flipt", "PRODUCER", ""), ("push", "CONSUMER", SPAN)]:
        accept = the_one(all_spans, lambda span: span["name"] == f"accept {source}", f"called accept {source}")
        told = accept["attributes"]
        assert (accept["kind"], accept["parent"], accept["links"]) == (f"SPAN_KIND_{kind}", parent, []), accept
        assert accept["trace"] == TRACE or not parent, accept
        compare(told, messaging("accept", "process" if parent else "create", source) | {
            "audit_relay.record.kind": "event", "audit_relay.commit_seconds": SOME_SECONDS,
            "messaging.message.id": SOME_TEXT, "flipt.audit.sequence": 2 if parent else 1,
            # It is the first of its change set, which is called after it.
            "flipt.audit.change_set": str(told.get("messaging.message.id")).replace("evt_", "cs_"),
            "feature_flag.provider.name": "flipt", "feature_flag.key": event["payload"]["key"],
            "feature_flag.set.id": event["payload"]["namespace_key"],
            **{f"flipt.audit.{key}": event[key] for key in ("type", "action", "status", "version")},
        }, accept["name"])
        assert re.fullmatch(r"evt_[0-9a-z]{26}", told["messaging.message.id"]), told

        carries = [(accept["trace"], accept["id"])]
        send = the_one(all_spans, lambda span: span["links"] == carries, f"linked to {accept['name']} alone")
        assert (send["name"], send["kind"], send["parent"]) == ("send siem", "SPAN_KIND_CLIENT", ""), send
        assert send["trace"] != accept["trace"], send
        compare(send["attributes"], messaging("send", "send", "siem") | {
            "messaging.message.id": told["messaging.message.id"], "audit_relay.batch.id": told["messaging.message.id"],
            "audit_relay.destination.type": "webhook", "audit_relay.attempt": 1, "audit_relay.outcome": "delivered",
            "flipt.audit.environment": "production",
            **{f"audit_relay.{what}_seconds": SOME_SECONDS for what in ("render", "commit", "wait")},
        }, "send siem")

        post = the_one(all_spans, lambda span: span["parent"] == send["id"], "below the delivery")
        assert (post["name"], post["kind"], post["links"]) == ("POST", "SPAN_KIND_CLIENT", []), post
        assert post["trace"] == send["trace"] and post["took"] <= send["took"], post
        compare(post["attributes"], {
            "http.request.method": "POST", "http.request.body.size": SOME_BYTES, "http.response.status_code": 200,
            "url.full": f"http://127.0.0.1:{receiver}/REDACTED", "url.scheme": "http", "server.address": "127.0.0.1",
            "server.port": receiver, "network.protocol.name": "http",
        }, "POST")
        assert f"00-{post['trace']}-{post['id']}-01" in traceparents, traceparents


def is_refused(judges, *arguments):
    try:
        judges(*arguments)
    except AssertionError:
        return True
    return False


def refuses_what_is_wrong(all_spans, *others):
    """Spoils each thing that a span tells, one by one; gives how many that were."""
    count = 0

    def spoil(index, change):
        nonlocal count
        spoilt = copy.deepcopy(all_spans)
        change(spoilt, spoilt[index])
        assert spoilt != all_spans
        if not is_refused(judge, spoilt, *others):
            raise SystemExit(f"the judge is content with what is wrong: {spoilt[index]}")
        count += 1

    for index, span in enumerate(all_spans):
        spoil(index, lambda spans, it: spans.remove(it))
        spoil(index, lambda spans, it: spans.append(it))
        spoil(index, lambda spans, it: it["links"].append((TRACE, SPAN)))
        if span["links"]:
            spoil(index, lambda spans, it: it["links"].clear())
        for part in ("resource", "attributes"):
            spoil(index, lambda spans, it: it[part].update({"something.else": "x"}))
            for key, value in span[part].items():
                spoil(index, lambda spans, it: it[part].pop(key))
                # Of a time or a length it is not known what it should be.
                wrong = -1.0 if isinstance(value, float) else -1 if isinstance(value, int) else value + "x"
                spoil(index, lambda spans, it: it[part].update({key: wrong}))
                spoil(index, lambda spans, it: it[part].update({key: 1 if isinstance(value, str) else str(value)}))
        for key in ("trace", "parent", "id", "name", "kind", "status", "scope"):
            spoil(index, lambda spans, it: it.update({key: "1111111111111111"}))
    return count


def reference():
    """The kinds of all metrics by their names, as OTLP has them."""
    text = (ROOT / "docs/metrics.md").read_text()
    found = re.findall(r"^\*\*`(audit_relay_\w+)`\*\* \((\w+)", text, flags=re.M)
    assert len(found) > 30, found
    return {name.removesuffix("_total") if kind == "counter" else name: kind for name, kind in found}


def metrics(printed):
    """Kind and unit of each metric that was printed, by its name, and the resources."""
    told = re.findall(r"^ +-> Name: (audit_relay_\w+)\n +-> Description: .+\n +-> Unit: ?(.*)\n +-> DataType: (\w+)\n"
                      r"(?: +-> IsMonotonic: (\w+)\n +-> AggregationTemporality: (\w+)\n)?", printed, flags=re.M)
    assert len(told) == printed.count("-> Name: audit_relay_"), printed
    resources = re.findall(RESOURCE_PRINTED, printed, flags=re.M)
    return {name: rest for name, *rest in told}, list(map(attributes, resources))


def judge_metrics(told, resources):
    wanted = reference()
    missing, unknown = wanted.keys() - told.keys() - NOT_ALWAYS, told.keys() - wanted.keys()
    assert not missing and not unknown, f"not told: {sorted(missing)}; not in the reference: {sorted(unknown)}"
    for resource in resources:
        compare(resource, RESOURCE, "the resource")
    assert resources
    for name, (unit, kind, monotonic, temporality) in told.items():
        assert kind == {"counter": "Sum", "gauge": "Gauge", "histogram": "Histogram"}[wanted[name]], name
        assert unit == ("s" if name.endswith("_seconds") else "By" if name.endswith("_bytes") else ""), name
        if kind == "Sum":
            assert (monotonic, temporality) == ("true", "AGGREGATION_TEMPORALITY_CUMULATIVE"), (name, monotonic, temporality)


def refuses_wrong_metrics(told, resources):
    for name in told:
        if name not in NOT_ALWAYS:
            assert is_refused(judge_metrics, {key: rest for key, rest in told.items() if key != name}, resources), name
        for position in range(2):
            spoilt = copy.deepcopy(told)
            spoilt[name][position] = "other"
            assert is_refused(judge_metrics, spoilt, resources), name
    assert is_refused(judge_metrics, told | {"audit_relay_other": ["", "Gauge", "", ""]}, resources)
    for key in RESOURCE:
        assert is_refused(judge_metrics, told, [{name: value for name, value in RESOURCE.items() if name != key}]), key


def run(program, what, protocol, by, gzip):
    """What a collector prints in full of `what` while a relay works beside it, and what went to the receiver."""
    receiver = Receiver()
    with Collector(what) as collector, tempfile.TemporaryDirectory() as directory:
        place = pathlib.Path(directory)
        endpoint = "http://" + (collector.grpc if protocol == "grpc" else collector.http)
        text = CONFIGURATION.format(place=place, receiver=receiver.server_port)
        variables = {"OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_METRIC_EXPORT_INTERVAL": "300"}
        if by == "configuration":
            text += f"telemetry: {{endpoint: '{endpoint}', protocol: {protocol}}}\n"
        else:
            variables |= {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        if gzip:
            variables["OTEL_EXPORTER_OTLP_COMPRESSION"] = "gzip"
        (place / "relay.yaml").write_text(text)
        (place / "audit.log").write_text(LINE + "\n")
        log = place / "log"
        with log.open("wb") as stderr:
            relay = subprocess.Popen([program, "run", "--config", place / "relay.yaml"], env=variables, stderr=stderr)
        try:
            address = eventually("the relay listens", lambda: listening(log, "push", "source"))
            eventually("the line is delivered", lambda: receiver.traceparents or None)
            push = urllib.request.Request(f"http://{address}/v1/events", LINE.encode(),
                                          {"traceparent": f"00-{TRACE}-{SPAN}-01", "content-type": "application/json"})
            assert urllib.request.urlopen(push, timeout=60).status == 200
            eventually("the push is delivered", lambda: len(receiver.traceparents) == 2 or None)
            relay.send_signal(signal.SIGTERM)
            assert relay.wait(60) == 0, log.read_text()
        finally:
            relay.kill()
        said = log.read_text()
        assert '"WARN"' not in said and '"ERROR"' not in said, said
        enough = ("Span #", 6) if what == "traces" else ("ResourceMetrics #", 1)
        eventually("it is printed", lambda: collector.printed().count(f"\n{enough[0]}") >= enough[1] or None)
        # So that nothing is printed by halves.
        collector.process.terminate()
        collector.process.wait(60)
        return collector.printed(), list(receiver.traceparents), receiver.server_port


def main():
    program = sys.argv[1]
    RESOURCE["service.version"] = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    for protocol, by, gzip in [("http/protobuf", "variables", False), ("grpc", "variables", False),
                               ("http/protobuf", "variables", True), ("grpc", "configuration", False),
                               ("grpc", "variables", True), ("http/protobuf", "configuration", False)]:
        printed, *others = run(program, "traces", protocol, by, gzip)
        found = spans(printed)
        judge(found, *others)
        wrong = refuses_what_is_wrong(found, *others)
        print(f"rotel receives {len(found)} spans by {protocol}{', gzip' if gzip else ''}, by {by}; {wrong} wrong ones are refused")
    for protocol in ["http/protobuf", "grpc"]:
        printed, *_ = run(program, "metrics", protocol, "variables", protocol == "grpc")
        told = metrics(printed)
        judge_metrics(*told)
        refuses_wrong_metrics(*told)
        print(f"rotel receives {len(told[0])} metrics by {protocol}")


main()
