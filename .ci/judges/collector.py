"""A real OpenTelemetry collector, PyPI `rotel`, that prints what it receives."""

import importlib.util
import pathlib
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from waiting import PATIENCE_SECONDS, eventually  # noqa: E402


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Collector:
    """Runs while it is entered. `signal`: what it prints in full: `logs`, `traces` or `metrics`."""

    def __init__(self, signal):
        self.signal = signal
        self.http, self.grpc = (f"127.0.0.1:{free_port()}" for _ in range(2))

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory()
        place = pathlib.Path(self.directory.name)
        self.output = place / "output"
        agent = pathlib.Path(importlib.util.find_spec("rotel").origin).parent / "rotel-agent"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [agent, "start", "--exporter", "blackhole", "--debug-log", self.signal,
                 "--debug-log-verbosity", "detailed", "--otlp-http-endpoint", self.http,
                 "--otlp-grpc-endpoint", self.grpc, "--pid-file", place / "pid", "--log-file", place / "log"],
                stdout=output, stderr=output)
        eventually("the collector listens", self.listens)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.directory.cleanup()

    def listens(self):
        assert self.process.poll() is None, self.printed()
        for address in (self.http, self.grpc):
            try:
                host, port = address.split(":")
                socket.create_connection((host, int(port)), 5).close()
            except OSError:
                return None
        return True

    def printed(self):
        """All that it has printed so far."""
        return self.output.read_bytes().decode("utf-8", "replace")
