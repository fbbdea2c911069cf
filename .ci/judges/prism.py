"""Sends bodies through Stoplight's Prism, which holds them against Datadog's own OpenAPI documents.

    prism.py PRISM DIRECTORY    PRISM: its program; DIRECTORY: what the test `bodies::bodies_are_written` has written

Prism stands in front of a server that answers as Datadog was recorded to, and judges these answers, too.
"""

import copy
import http.client
import http.server
import json
import pathlib
import socket
import subprocess
import sys
import threading
import time

import bodies

SCHEMAS = pathlib.Path(__file__).resolve().parents[2] / "tests" / "schemas" / "datadog"
PATIENCE = 60

# Without the numeric id of version 1: Prism holds it against the largest whole number of JavaScript.
ANSWERS = {
    "/api/v1/events": {
        "status": "ok",
        "event": {"id_str": "6327818702635911562", "title": "t", "text": "x", "date_happened": 1641430251},
    },
    "/api/v2/events": {
        "data": {
            "attributes": {"attributes": {"evt": {"id": "8407723285051133019", "uid": "AZsKLCxvAACrUQTfNDwMWwAA"}}},
            "id": "_",
            "type": "event",
        },
        "links": {"self": "https://app.datadoghq.com/event/event?uid=AZsKLCxvAACrUQTfNDwMWwAA"},
    },
}


class Datadog(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        answer = json.dumps(ANSWERS[self.path]).encode()
        self.send_response(202)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Prism:
    """Prism in front of a server of our own."""

    def __init__(self, program, specification):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Datadog)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.port = free_port()
        upstream = f"http://127.0.0.1:{self.server.server_port}"
        command = [program, "proxy", SCHEMAS / specification, upstream, "--errors", "--port", str(self.port), "--verboseLevel", "error"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.said = []
        threading.Thread(target=lambda: self.said.extend(self.process.stdout), daemon=True).start()
        self.connection = None

    def __enter__(self):
        begun = time.monotonic()
        while True:
            assert self.process.poll() is None and time.monotonic() - begun < PATIENCE, "".join(self.said)
            try:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
                self.connection.connect()
                return self
            except OSError:
                time.sleep(0.1)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.server.shutdown()

    def post(self, path, body, headers):
        self.connection.request("POST", path, json.dumps(body), {"content-type": "application/json"} | headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read().decode()


KEYS = {"dd-api-key": "x", "dd-application-key": "y"}


def judge(program, specification, path, file, good, wrong):
    with Prism(program, specification) as prism:
        status, said = prism.post(path, good, KEYS)
        assert status == 202, said
        for body in wrong:
            status, said = prism.post(path, body, KEYS)
            assert status == 422, f"Prism takes what is wrong ({status}): {json.dumps(body)[:300]}"
        status, said = prism.post(path, good, {})
        assert status == 401, f"Prism takes what has no key ({status})"
        count = 0
        with open(file, encoding="utf-8") as lines:
            for count, line in enumerate(lines, 1):
                status, said = prism.post(path, json.loads(line), KEYS)
                assert status == 202, f"{file}, line {count}: {status} {said}\n{line[:2000]}"
        assert count
    print(f"{count} bodies of {file.name} are right by Prism and Datadog's OpenAPI, which refuse {len(wrong) + 1} planted ones")


def main(program, directory):
    directory = pathlib.Path(directory)
    changes = [
        bodies.with_attribute(category="deployment"),
        bodies.with_attribute(tags=[]),
        bodies.with_attribute(title="x" * 501),
        bodies.with_attribute(other=1),
        bodies.of_change(author={"type": "user"}),
    ]
    judge(program, "datadog-v2-events.yaml", "/api/v2/events", directory / "datadog_v2.ndjson", bodies.CHANGE, changes)
    untitled = copy.copy(bodies.PLAIN)
    del untitled["title"]
    plain = [untitled, bodies.PLAIN | {"text": "x" * 4001}, bodies.PLAIN | {"date_happened": "1"}, bodies.PLAIN | {"priority": "high"}]
    judge(program, "datadog-v1-events.yaml", "/api/v1/events", directory / "datadog_v1.ndjson", bodies.PLAIN, plain)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
