"""Has log records of OTLP judged by what others wrote.

    otlp_logs.py PROGRAM    PROGRAM: a built audit-relay

PyPI `opentelemetry-proto` decodes what the relay sends, packed and plain, and each field is compared with what the
captured line of Flipt says, as it is read here. PyPI `rotel`, a real collector, receives the same, and must print the
same. Both judges must also refuse what is wrong.
"""

import copy
import datetime
import gzip
import http.client
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

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from collector import Collector
from waiting import eventually, listening

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures" / "flipt"
FILES = [
    "v0.2_logfile_encoding-json.log",
    "v0.2_logfile_encoding-console_DEFAULT.log",
    "v0.2_stdout_json.txt",
    "v0.2_stdout_console.txt",
    "v0.1_logfile_flipt-v1.21.0.log",
    "v0.1_logfile_flipt-v1.30.0.log",
    "v0.1_logfile_flipt-v1.42.1.log",
]
NO_EVENT = b'{"type":"flag","action":'
NO_TEXT = b'\xff{"type":'
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

CONFIGURATION = """
name: relay-7
data_dir: {place}/data
environments: {{production: [default]}}
sources:
  flipt: {{type: file, path: {place}/audit.log}}
  push: {{type: http, listen: "127.0.0.1:0", signing: none, instance: pushed}}
destinations:
  packed: {{type: otlp, endpoint: "{url}/packed/v1/logs", concurrency: 1}}
  plain: {{type: otlp, endpoint: "{url}/plain/v1/logs", concurrency: 1, compression: none}}
  collector: {{type: otlp, endpoint: "http://{collector}", concurrency: 1}}
routes:
  all: {{when: {{record: [event, unparsed]}}, to: [packed, plain, collector]}}
health: {{listen: "127.0.0.1:0"}}
admin: {{listen: "127.0.0.1:0"}}
"""

# Of what is known of a change only the relay can know; what these say is judged by tests of its own.
OF_THE_RELAY = {
    "flipt.audit.summary": str, "flipt.audit.kind": str, "flipt.audit.live": bool, "flipt.audit.change_set": str,
    "flipt.audit.changed_fields": list, "flipt.audit.changes": list, "flipt.audit.late": bool,
    "log.record.uid": str, "audit_relay.record.sequence": int, "audit_relay.journal": str,
}
ALWAYS = {"flipt.audit.summary", "log.record.uid", "audit_relay.record.sequence", "audit_relay.journal"}


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps every request as it came, and answers as OTLP wants it."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def records(self, path):
        return [record for where, body in list(self.requests) if where == path for record in decoded(body)]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        assert self.headers["content-type"] == "application/x-protobuf"
        assert (self.headers["content-encoding"] == "gzip") == self.path.startswith("/packed")
        if self.headers["content-encoding"] == "gzip":
            body = gzip.decompress(body)
        self.server.requests.append((self.path, body))
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def value(any_value):
    kind = any_value.WhichOneof("value")
    if kind == "array_value":
        return [value(item) for item in any_value.array_value.values]
    if kind == "kvlist_value":
        return {entry.key: value(entry.value) for entry in any_value.kvlist_value.values}
    assert kind in ("string_value", "bool_value", "int_value", "bytes_value"), kind
    return getattr(any_value, kind)


def attributes(pairs):
    found = {pair.key: value(pair.value) for pair in pairs}
    assert len(found) == len(pairs), "an attribute twice"
    return found


def decoded(body):
    """The log records of a request, as maps. Fields that the schema does not know are none of these records'."""
    request = ExportLogsServiceRequest.FromString(body)
    assert request.SerializeToString(deterministic=True) and not unknown(request)
    for resource in request.resource_logs:
        for scope in resource.scope_logs:
            assert resource.schema_url == scope.schema_url
            for record in scope.log_records:
                yield {
                    "schema_url": scope.schema_url,
                    "resource": attributes(resource.resource.attributes),
                    "scope": (scope.scope.name, scope.scope.version),
                    "time": record.time_unix_nano,
                    "observed": record.observed_time_unix_nano,
                    "severity": (record.severity_number, record.severity_text),
                    "event_name": record.event_name,
                    "body": value(record.body),
                    "attributes": attributes(record.attributes),
                    "dropped": record.dropped_attributes_count,
                    "trace": record.trace_id.hex(),
                    "span": record.span_id.hex(),
                    "flags": record.flags,
                }


def unknown(request):
    """Whether another writer would write it shorter: then something in it is not known."""
    return len(ExportLogsServiceRequest.FromString(request.SerializeToString()).SerializeToString()) != request.ByteSize()


def read_event(line):
    return json.loads(line[line.index("{"):])


def nanoseconds(timestamp):
    return int(datetime.datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()) * 10**9


def expected(line, rules, instance="flipt", source="flipt"):
    """What a line of Flipt says, by Flipt's contract; `rules`: the flags of the rules before it."""
    event = read_event(line)
    kind, payload = event["type"], event.get("payload") or {}
    actor = event["metadata"]["actor"]
    claim = lambda name: actor.get(name) or actor.get(f"io.flipt.auth.{actor['authentication']}.{name}")
    denied = event.get("status") == "denied"
    flag = namespace = segment = None
    if denied or kind == "token":
        pass
    elif kind == "namespace":
        namespace = payload["key"]
    elif kind == "distribution" and "flag_key" not in payload:
        flag, namespace = rules[payload["rule_id"]]
    else:
        namespace = payload.get("namespace_key", "default")
        flag = payload["key"] if kind == "flag" else payload.get("flag_key")
        segment = payload["key"] if kind == "segment" else payload["segment_key"] if kind == "constraint" else None
    if kind == "rule" and "id" in payload:
        rules[payload["id"]] = (flag, namespace)
    entity = None
    if not denied and not {"rule_ids", "rollout_ids"} & payload.keys():
        entity = payload["key"] if kind in ("flag", "segment", "namespace") else \
            payload["io.flipt.auth.token.name"] if kind == "token" else payload["id"]
    found = {
        "feature_flag.provider.name": "flipt",
        "feature_flag.key": flag,
        "feature_flag.set.id": namespace,
        "flipt.audit.segment.key": segment,
        "flipt.audit.type": kind,
        "flipt.audit.action": event["action"],
        "flipt.audit.status": event.get("status", "success"),
        "flipt.audit.version": event["version"],
        "flipt.audit.entity.id": entity,
        "flipt.audit.instance": instance,
        "flipt.audit.environment": "production" if namespace == "default" else None,
        "flipt.audit.actor.authentication": actor.get("authentication"),
        "user.email": claim("email"),
        "user.name": claim("name"),
        "client.address": actor.get("ip"),
        "audit_relay.record.kind": "event",
        "audit_relay.source.name": source,
    }
    return {
        "time": nanoseconds(event["timestamp"]),
        "severity": (13, "WARN") if denied else (9, "INFO"),
        "event_name": "flipt.audit.event",
        "body": line,
        "attributes": {key: value for key, value in found.items() if value is not None},
        "resource": {"service.name": instance, "audit_relay.name": "relay-7"},
        "dropped": 0,
        "trace": "", "span": "", "flags": 0,
    }


def judge(record, wanted):
    """Compares each field of a record."""
    for name, want in wanted.items():
        if name != "attributes":
            assert record[name] == want, f"{name}: {record[name]!r}, not {want!r}"
    told = dict(record["attributes"])
    for key, want in wanted["attributes"].items():
        assert key in told and told.pop(key) == want, f"{key} is not {want!r}: {record['attributes']}"
    for key, found in told.items():
        assert key in OF_THE_RELAY and isinstance(found, OF_THE_RELAY[key]), f"{key}: {found!r}"
    assert ALWAYS <= told.keys(), f"{ALWAYS - told.keys()} missing"
    assert re.fullmatch(r"evt_[0-9a-z]{26}", told["log.record.uid"])
    assert record["scope"][0] == "audit-relay" and re.fullmatch(r"\d+\.\d+\.\d+.*", record["scope"][1])
    assert re.fullmatch(r"https://opentelemetry\.io/schemas/1\.\d+\.0", record["schema_url"])
    assert record["observed"] >= record["time"] or record["observed"] > 10**18


def printed_form(found):
    """A value as the collector prints it."""
    if isinstance(found, bool):
        return f"Bool({str(found).lower()})"
    if isinstance(found, int):
        return f"Int({found})"
    if isinstance(found, str):
        return f"Str({found})"
    if isinstance(found, bytes):
        return f"Bytes({list(found)})"
    if isinstance(found, list):
        return f"Slice({', '.join(map(printed_form, found))})"
    return f"Map({', '.join(f'{key}:{printed_form(item)}' for key, item in found.items())})"


def printed_records(text):
    """What the collector prints of each record, by its own words."""
    for resource in re.split(r"^ResourceLog #\d+$", text, flags=re.MULTILINE)[1:]:
        head, *records = re.split(r"^LogRecord #\d+$", resource, flags=re.MULTILINE)
        of_resource = dict(re.findall(r"^ {5}-> (\S+): (.*)$", head, re.MULTILINE))
        scope = re.search(r"^InstrumentationScope (\S+) (\S+)$", head, re.MULTILINE)
        for record in records:
            field = lambda name: re.search(rf"^ *{name} *: ?(.*)$", record, re.MULTILINE)[1]
            yield {
                "resource": of_resource,
                "scope": scope.groups(),
                "schema_url": field("ScopeLogs SchemaURL") if "ScopeLogs SchemaURL" in record else
                re.search(r"^ScopeLogs SchemaURL: (.*)$", head, re.MULTILINE)[1],
                "time": field("Timestamp"), "observed": field("ObservedTimestamp"),
                "severity": (field("SeverityNumber"), field("SeverityText")),
                "event_name": field("EventName"), "body": field("Body"),
                "attributes": dict(re.findall(r"^ {5}-> (\S+): (.*)$", record, re.MULTILINE)),
                "trace": field("Trace ID"), "span": field("Span ID"), "flags": field("Flags"),
            }


def as_printed(record):
    number, text = record["severity"]
    show = lambda pairs: {key: printed_form(found) for key, found in pairs.items()}
    return {
        "resource": show(record["resource"]), "scope": record["scope"], "schema_url": record["schema_url"],
        "time": str(record["time"]), "observed": str(record["observed"]),
        "severity": (f"SEVERITY_NUMBER_{text}({number})", text),
        "event_name": record["event_name"], "body": printed_form(record["body"]),
        "attributes": show(record["attributes"]),
        "trace": record["trace"], "span": record["span"], "flags": str(record["flags"]),
    }


def push(address, body):
    headers = {"content-type": "application/json", "traceparent": f"00-{TRACE}-{SPAN}-01"}
    request = urllib.request.Request(f"http://{address}/v1/events", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200


def relayed(program, lines, pushed):
    """Runs the relay, and gives what each receiver got."""
    count = len(lines) + (pushed is not None)
    receiver = Receiver()
    with Collector("logs") as collector, tempfile.TemporaryDirectory() as directory:
        place = pathlib.Path(directory)
        (place / "audit.log").write_bytes(b"".join(line + b"\n" for line in lines))
        url = f"http://127.0.0.1:{receiver.server_port}"
        config = place / "relay.yaml"
        config.write_text(CONFIGURATION.format(place=place, url=url, collector=collector.http))
        log = place / "relay.log"
        with log.open("w") as stderr:
            relay = subprocess.Popen([program, "run", "--config", config], stderr=stderr)
        try:
            address = eventually("the relay listens", lambda: listening(log, "push", "source"))
            if pushed is not None:
                push(address, pushed)
            got = lambda: (receiver.records("/packed/v1/logs"), receiver.records("/plain/v1/logs"),
                           list(printed_records(collector.printed())))
            # The collector prints a record in several lines, of which its flags are the last.
            whole = lambda all: [len(some) for some in all] == [count] * 3 and all[2][-1]["flags"]
            found = eventually(f"{count} records each:\n{log.read_text()}", lambda: got() if whole(got()) else None)
            refuses(collector, receiver)
            relay.send_signal(signal.SIGTERM)
            assert relay.wait(60) == 0, log.read_text()
        finally:
            relay.kill()
            relay.wait()
        return found


def refuses(collector, receiver):
    """A collector that takes anything judges nothing."""
    (_, body), *_ = receiver.requests
    for wrong in (body[:-3], b'{"resourceLogs": []', b"\xff" * 40):
        connection = http.client.HTTPConnection(collector.http, timeout=30)
        connection.request("POST", "/v1/logs", wrong, {"content-type": "application/x-protobuf"})
        assert connection.getresponse().status >= 400, wrong[:20]
    try:
        ExportLogsServiceRequest.FromString(body[:-3])
    except DecodeError:
        return
    raise AssertionError("a broken request is decoded")


def refuses_what_is_wrong(record, wanted):
    """So would a comparison that finds no difference."""
    def changed(change):
        other = copy.deepcopy(record)
        change(other)
        return other

    wrongs = [changed(lambda it, key=key: it["attributes"].pop(key)) for key in record["attributes"]
              if key in wanted["attributes"] or key in ALWAYS]
    wrongs += [changed(lambda it, name=name: it.update({name: "other"})) for name in wanted]
    wrongs.append(changed(lambda it: it["attributes"].update({"flipt.audit.action": "read"})))
    wrongs.append(changed(lambda it: it["attributes"].update({"something.else": "x"})))
    for wrong in wrongs:
        try:
            judge(wrong, wanted)
        except (AssertionError, AttributeError, ValueError):
            continue
        raise AssertionError(f"a wrong record is taken: {wrong}")
    return len(wrongs)


def main(program):
    judged = wrongs = 0
    for name in FILES:
        lines = (FIXTURES / name).read_text().splitlines()
        is_first = name == FILES[0]
        pushed = (FIXTURES / "v0.2_webhook_bodies.ndjson").read_text().splitlines()[4] if is_first else None
        odd = [NO_EVENT, NO_TEXT] if is_first else []
        packed, plain, printed = relayed(program, [line.encode() for line in lines] + odd, pushed and pushed.encode())
        assert packed == plain, "packed and plain records differ"
        by_id = lambda all, of: sorted(all, key=lambda record: of(record["attributes"]["log.record.uid"]))
        want = by_id(map(as_printed, packed), str)
        assert want == by_id(printed, str), "\n".join(
            f"{name}: {one}\n  {other}" for one, other in zip(want, by_id(printed, str)) if one != other)
        of_file = [record for record in packed if record["resource"]["service.name"] == "flipt"]
        rules = {}
        for record, line in zip(of_file, lines):
            wanted = expected(line, rules)
            judge(record, wanted)
            wrongs += refuses_what_is_wrong(record, wanted)
        if is_first:
            for record, body in zip(of_file[len(lines):], (NO_EVENT.decode(), NO_TEXT), strict=True):
                assert (record["event_name"], record["severity"]) == ("audit_relay.unparsed", (13, "WARN"))
                assert record["body"] == body and record["time"] == record["observed"]
            (record,) = [record for record in packed if record["resource"]["service.name"] == "pushed"]
            wanted = expected(pushed, {}, "pushed", "push")
            # The span is the relay's own where it sends traces.
            assert record["trace"] == TRACE and len(record["span"]) == 16
            judge(record, wanted | {"trace": TRACE, "span": record["span"], "flags": 1})
        judged += len(packed)
    print(f"{judged} log records, packed and plain, are what the captured lines say, and a real collector prints the "
          f"same; {wrongs} wrong ones are refused")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
