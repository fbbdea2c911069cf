"""A receiver that misbehaves on command: `receiver.py DIRECTORY NAME PORT`. It answers as DIRECTORY/NAME.mood says, and
notes each request in DIRECTORY/NAME.taken, one JSON text a line, before it answers."""

import hashlib
import hmac
import http.server
import json
import os
import pathlib
import socket
import struct
import sys
import time

SECRET = b"PLANTED-signing"
ANSWERS = {
    "ok": (200, {}),
    "throttles": (429, {"Retry-After": "1"}),
    "fails": (500, {}),
    "redirects": (301, {"Location": "http://127.0.0.1:1/"}),
}
MOODS = [*ANSWERS, "resets", "hangs", "half", "garbage", "picky"]


def number_of(envelope):
    """Which line an envelope is about, from the description that the writer gave it."""
    data = envelope.get("data") or {}
    payload = data.get("payload") or {}
    text = payload.get("description", "")
    return int(text[1:]) if text.startswith("n") and text[1:].isdigit() else None


def noted(envelope):
    """What the judge needs of an envelope."""
    change = envelope.get("change") or {}
    return {
        "id": envelope["id"],
        "number": number_of(envelope),
        "type": envelope["type"],
        "sequence": envelope["sequence"],
        "before": change.get("before"),
        "after": change.get("after"),
        "data": envelope.get("data"),
    }


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        """Notes the request, and answers as its mood is."""
        body = self.rfile.read(int(self.headers["content-length"]))
        mood = self.server.mood()
        right = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
        parsed = json.loads(body)
        envelopes = [noted(one) for one in (parsed if isinstance(parsed, list) else [parsed])]
        status, headers = ANSWERS.get(mood, (200, {}))
        if mood == "picky" and any((one["number"] or 0) % 11 == 3 for one in envelopes):
            status = 403
        answers = mood in ANSWERS or mood == "picky"
        self.server.note(
            {
                "status": status if answers else 0,
                "signed": hmac.compare_digest(right, self.headers.get("X-Flipt-Webhook-Signature", "")),
                "envelopes": envelopes,
            }
        )
        if mood == "hangs":
            while self.server.mood() == "hangs":
                time.sleep(0.02)
            self.close_connection = True
        elif mood == "resets":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
        elif mood == "half":
            self.wfile.write(b"HTTP/1.1 20")
            self.close_connection = True
        elif mood == "garbage":
            self.wfile.write(b"\0\xff not HTTP at all\r\n\r\n")
            self.close_connection = True
        else:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

    def log_message(self, *_):
        """Says nothing."""


class Server(http.server.ThreadingHTTPServer):
    """All connections."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, directory, name, port):
        self.moods = pathlib.Path(directory, f"{name}.mood")
        self.taken = os.open(pathlib.Path(directory, f"{name}.taken"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        super().__init__(("127.0.0.1", port), Handler)

    def mood(self):
        """What it is like now."""
        return self.moods.read_text()

    def note(self, request):
        """Kept by the kernel whatever becomes of this process."""
        os.write(self.taken, json.dumps(request).encode() + b"\n")

    def handle_error(self, *_):
        """A client that went away."""


if __name__ == "__main__":
    server = Server(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    print(server.server_port, flush=True)
    server.serve_forever()
