"""Runs the relay against a receiver, and has what it sends verified.

    webhooks.py PROGRAM REQUESTS    writes the requests to the file REQUESTS, for judges in other languages
"""

import base64
import collections
import datetime
import hashlib
import hmac
import http.server
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.exceptions import CloudEventValidationError
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures" / "flipt"
PATIENCE = 60

# Made anew for each run: two that are valid while one replaces the other, and one that never was.
NEW, OLD, WRONG = ("whsec_" + base64.b64encode(os.urandom(size)).decode() for size in (24, 64, 32))
FLIPT, GITHUB = "s3cr3t of Flipt's own sink", "It's a Secret to Everybody"

CONFIGURATION = """
data_dir: {place}/data
sources: {{flipt: {{type: file, path: {place}/audit.log}}}}
destinations:
  envelope:
    type: webhook
    url: {url}/envelope
    signing: &all
      - {{scheme: standard_webhooks, secrets: [{{env: NEW}}, {{env: OLD}}]}}
      - {{scheme: flipt, secrets: [{{env: FLIPT}}]}}
      - {{scheme: github, secrets: [{{env: GITHUB}}]}}
  batches:
    type: webhook
    url: {url}/batches
    batch: {{max_events: 10, timeout: 100ms}}
    signing: *all
  flipt: {{type: webhook, url: "{url}/flipt", format: flipt, signing: *all}}
  cloudevents: {{type: webhook, url: "{url}/cloudevents", format: cloudevents, signing: *all}}
  template:
    type: webhook
    url: {url}/template
    format: template
    signing: *all
    template:
      headers: {{x-kind: "{{{{ type }}}}"}}
      body: |
        {{"text": "{{{{ actor.name | default('Someone') }}}}: {{{{ type }}}}", "data": {{{{ data_json }}}}}}
routes:
  events: {{to: [envelope, batches, flipt, cloudevents, template]}}
  others: {{when: {{record: [unparsed, gap]}}, to: [envelope, cloudevents]}}
"""

Request = collections.namedtuple("Request", "path headers body")


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps every request as it came."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def at(self, path):
        """What came here, in the order of the log: ids of one file are ordered."""
        found = [request for request in list(self.requests) if request.path == path]
        return sorted(found, key=lambda request: request.headers["webhook-id"])


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        assert len(headers) == len(self.headers.items()), "a header twice"
        self.server.requests.append(Request(self.path, headers, body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def deliver(program, receiver, lines):
    """Runs the relay until it has sent everything."""
    enough = {"/envelope": lines + 1, "/cloudevents": lines + 1, "/flipt": lines, "/template": lines}
    with tempfile.TemporaryDirectory() as place:
        log = (FIXTURES / "v0.2_logfile_encoding-json.log").read_text()
        pathlib.Path(place, "audit.log").write_text(log + '{"type":"flag","action":"updated",\n')
        url = f"http://127.0.0.1:{receiver.server_port}"
        config = pathlib.Path(place, "relay.yaml")
        config.write_text(CONFIGURATION.format(place=place, url=url))
        secrets = {"NEW": NEW, "OLD": OLD, "FLIPT": FLIPT, "GITHUB": GITHUB}
        relay = subprocess.Popen([program, "run", "--config", config], env=secrets, stderr=subprocess.PIPE, text=True)
        said = []
        threading.Thread(target=lambda: said.extend(relay.stderr), daemon=True).start()
        try:
            begun = time.monotonic()
            while any(len(receiver.at(path)) < count for path, count in enough.items()) or batched(receiver) < lines:
                assert relay.poll() is None, "the relay ended:\n" + "".join(said)
                assert time.monotonic() - begun < PATIENCE, "not everything came:\n" + "".join(said)
                time.sleep(0.05)
            relay.send_signal(signal.SIGTERM)
            assert relay.wait(PATIENCE) == 0, "".join(said)
        finally:
            relay.kill()
        for secret in secrets.values():
            assert secret not in "".join(said), "a secret in the log"


def batched(receiver):
    return sum(len(json.loads(request.body)) for request in receiver.at("/batches"))


def refused(judge, *arguments):
    """Whether a judge refuses; what it raises then."""
    try:
        judge(*arguments)
    except (AssertionError, WebhookVerificationError, CloudEventValidationError, ValueError) as error:
        return error
    return None


def standard_webhooks(request, secret):
    return Webhook(secret).verify(request.body, request.headers)


def hex_hmac(secret, body):
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def flipt(request):
    assert hmac.compare_digest(request.headers["x-flipt-webhook-signature"], hex_hmac(FLIPT, request.body))


def github(request):
    assert hmac.compare_digest(request.headers["x-hub-signature-256"], "sha256=" + hex_hmac(GITHUB, request.body))


def cloud_event(request):
    event = from_http_event(HTTPMessage(headers=request.headers, body=request.body))
    assert event.get_datacontenttype() == "application/json"
    # The library makes up an id where there is none.
    assert event.get_id() == request.headers["webhook-id"]
    return event


def signatures(requests):
    for request in requests:
        for secret in (NEW, OLD):
            assert standard_webhooks(request, secret) == json.loads(request.body)
        flipt(request)
        github(request)
    print(f"{len(requests)} requests: both standard_webhooks secrets, flipt and github verify")


def vectors():
    body = b'{"version":"","type":"flag","action":"create","metadata":{},"payload":null,"timestamp":"","status":""}'
    expected = "6bc16d7434cbd746abfd25e3350a3f43fba04883b7f0b83f09bbc373116f84b0"
    assert hex_hmac("s3crET", body) == expected, "Flipt's own vector"
    expected = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert hex_hmac(GITHUB, b"Hello, World!") == expected, "GitHub's vector"
    print("the judges agree with the vectors of Flipt and GitHub")


def what_is_wrong_is_refused(request):
    """A judge that takes everything judges nothing."""
    assert "No matching signature" in str(refused(standard_webhooks, request, WRONG)), "a wrong secret"
    altered = request._replace(body=request.body + b" ")
    for judge in (lambda r: standard_webhooks(r, NEW), flipt, github):
        assert refused(judge, altered) is not None, "an altered body"
    other = request._replace(headers={**request.headers, "webhook-id": "evt_other"})
    assert refused(standard_webhooks, other, NEW) is not None, "another id"
    # Signed rightly, ten minutes ago.
    then = datetime.datetime.now(tz=datetime.timezone.utc) - datetime.timedelta(minutes=10)
    signature = Webhook(NEW).sign(request.headers["webhook-id"], then, request.body.decode())
    stale = {**request.headers, "webhook-timestamp": str(int(then.timestamp())), "webhook-signature": signature}
    assert "too old" in str(refused(standard_webhooks, request._replace(headers=stale), NEW)), "a stale timestamp"
    print("a wrong secret, an altered body, another id and a stale timestamp are refused")


def cloud_events(requests, sent_by_flipt):
    events = sorted(map(cloud_event, requests), key=lambda event: event.get_extension("sequence"))
    keys = {(event.get_source(), event.get_id()) for event in events}
    assert len(keys) == len(events), "source and id are unique together"
    kinds = collections.Counter(event.get_type().rpartition(".")[0] for event in events)
    assert kinds.pop("io.audit_relay") == 1 and all(kind.startswith("io.flipt.audit.") for kind in kinds), kinds
    datas = [event.get_data() for event in events if event.get_type() != "io.audit_relay.unparsed"]
    assert datas == [json.loads(body) for body in sent_by_flipt]
    for change in ({"type": None}, {"source": ""}, {"flipt_status": "success"}):
        wrong = {key: value for key, value in (json.loads(requests[0].body) | change).items() if value is not None}
        broken = requests[0]._replace(body=json.dumps(wrong).encode())
        assert refused(cloud_event, broken) is not None, f"what is no CloudEvent: {change}"
    print(f"{len(events)} CloudEvents are valid, and what is none is refused")


def main(program, file):
    sent_by_flipt = (FIXTURES / "v0.2_webhook_bodies.ndjson").read_bytes().splitlines()
    receiver = Receiver()
    deliver(program, receiver, len(sent_by_flipt))
    requests = receiver.requests
    ids = collections.Counter((request.path, request.headers["webhook-id"]) for request in requests)
    assert max(ids.values()) == 1, "a request twice"
    vectors()
    signatures(requests)
    what_is_wrong_is_refused(receiver.at("/envelope")[0])
    cloud_events(receiver.at("/cloudevents"), sent_by_flipt)
    assert [request.body for request in receiver.at("/flipt")] == sent_by_flipt, "not what Flipt sent"
    print(f"{len(sent_by_flipt)} bodies are those of Flipt's own webhook sink, byte for byte")
    for request, body in zip(receiver.at("/template"), sent_by_flipt):
        made = json.loads(request.body)
        assert made["data"] == json.loads(body) and made["text"].endswith(": " + request.headers["x-kind"])
    print("the template made what it says")
    kept = [{"path": r.path, "headers": r.headers, "body": r.body.decode()} for r in requests]
    pathlib.Path(file).write_text(json.dumps({"secrets": [NEW, OLD], "wrong": WRONG, "requests": kept}))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
