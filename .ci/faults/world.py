"""What a seed works on: a writer in Flipt's place, receivers, and the relays between them, in a directory of their own."""

import hashlib
import hmac
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
SECRET = b"PLANTED-signing"
PATIENCE = 120
RECEIVERS = ["steady", "sick"]
# The disk of a relay, where there are the rights to make one.
DISK_BYTES = 64 << 20


class Stuck(Exception):
    """Something did not come about within PATIENCE."""


def until(what, holds):
    """Waits until `holds` gives something, and gives it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = holds()
        if found:
            return found
        time.sleep(0.05)
    raise Stuck(what)


def event(number, flag, namespace="default", is_late=False):
    """One line, and the state of its flag after it; a late one is two days older than all others."""
    state = {
        "key": f"flag-{flag}",
        "name": f"Flag {flag}",
        "description": f"n{number}",
        "enabled": number % 2 == 0,
        "namespace_key": namespace,
    }
    text = {
        "version": "0.2",
        "type": "flag",
        "action": "updated",
        "metadata": {"actor": {"authentication": "none", "ip": "10.0.0.1"}},
        "payload": state,
        "timestamp": "2026-11-20T07:40:10Z" if is_late else "2026-11-22T07:40:10Z",
        "status": "success",
    }
    return json.dumps(text, separators=(",", ":")), state


class Writer:
    """Writes as Flipt does: one descriptor, appended to, never opened again but by a rotation."""

    def __init__(self, directory, linked):
        self.directory = directory
        directory.mkdir()
        self.path = directory / "audit.log"
        self.count = 0
        self.turn = 0
        self.is_linked = linked
        self.contents = {}
        self._open()

    def _open(self):
        if self.is_linked:
            target = self.directory / f"audit-{self.turn}.real"
            link = self.directory / "link"
            link.symlink_to(target.name)
            self.file = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.replace(link, self.path)
        else:
            self.file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.contents.setdefault(os.fstat(self.file).st_ino, b"")

    def write(self, text):
        """Appends a line."""
        line = text.encode() + b"\n"
        os.write(self.file, line)
        self.contents[os.fstat(self.file).st_ino] += line

    def rotate(self, how):
        """One of the ways there are; nothing is written meanwhile."""
        if not self.path.exists():
            # It was renamed, and is held: there is nothing but to open it anew.
            how = "renamed"
        self.turn += 1
        aside = self.directory / f"audit.log.{self.turn}"
        if how == "copytruncate":
            shutil.copyfile(self.path, aside)
            inode = os.fstat(self.file).st_ino
            self.contents[os.stat(aside).st_ino] = self.contents[inode]
            os.ftruncate(self.file, 0)
            self.contents[inode] = b""
            return
        if how == "held":
            os.rename(self.path, aside)
            return
        if how == "deleted":
            self.contents.pop(os.fstat(self.file).st_ino)
            self.path.unlink()
        elif not self.is_linked and self.path.exists():
            os.rename(self.path, aside)
        os.close(self.file)
        self._open()

    def is_untouched(self):
        """Whether every file holds what was written to it, and nothing else."""
        for path in self.directory.iterdir():
            wanted = self.contents.get(path.stat().st_ino)
            if wanted is not None and path.read_bytes() != wanted:
                return False
        return True


class Receiver:
    """A process that misbehaves on command; see receiver.py."""

    def __init__(self, place, name):
        self.place, self.name, self.port = place, name, 0
        self.be("ok")
        self.start()

    def be(self, mood):
        """How it answers from now on."""
        new = self.place / f"{self.name}.mood.new"
        new.write_text(mood)
        new.rename(self.place / f"{self.name}.mood")

    def start(self):
        """Starts it, at its port of before."""
        command = [sys.executable, "-B", str(HERE / "receiver.py"), str(self.place), self.name, str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.port = int(self.process.stdout.readline())

    def kill(self):
        """Nobody listens any more."""
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()

    def taken(self):
        """Every request that came, in order."""
        path = self.place / f"{self.name}.taken"
        text = path.read_text() if path.exists() else ""
        # The last line may be on its way.
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


class Relay:
    """One relay, and all that it said."""

    def __init__(self, program, place, name, config, shim):
        self.program, self.name, self.config = program, name, place / f"{name}.yaml"
        self.place, self.data = place, place / f"{name}-data"
        self.text = config
        self.edit(config)
        self.data.mkdir(mode=0o700)
        self.is_small = os.geteuid() == 0
        if self.is_small:
            mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "tmpfs", str(self.data)]
            subprocess.run(mount, check=True)
        self.undo = place / f"{name}-undo"
        self.clock = place / f"{name}-clock"
        self.clock.write_bytes(bytes(8))
        self.shim = shim
        self.process = None
        self.runs = 0

    def fill(self):
        """Nothing more fits on its disk."""
        with open(self.data / "filler", "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(1 << 16))
            except OSError:
                return

    def free(self):
        """There is room again."""
        (self.data / "filler").unlink(missing_ok=True)

    def unmount(self):
        """Lets go of its disk."""
        if self.is_small:
            subprocess.run(["umount", "-l", str(self.data)], check=False)

    def edit(self, text):
        """Another configuration, as editors write it."""
        new = self.config.with_suffix(".new")
        new.write_text(text)
        new.rename(self.config)

    def log(self):
        """Where this run writes."""
        return self.place / f"{self.name}-{self.runs}.log"

    def start(self, strace=None):
        """Starts it; `strace` injects faults into its system calls."""
        self.runs += 1
        environment = {"PATH": os.environ["PATH"], "FAULTS_CLOCK": str(self.clock), "LD_PRELOAD": str(self.place / "shim.so")}
        if self.shim:
            shutil.rmtree(self.undo, ignore_errors=True)
            self.undo.mkdir()
            environment["FAULTS_UNDO"] = str(self.undo)
        command = [str(self.program), "run", "-c", str(self.config), "--allow-inline-secrets"]
        if strace:
            command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync,pwrite64,write", *strace, *command]
        with open(self.log(), "wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        self.is_traced = bool(strace)

    def wait_ready(self):
        """Until it is."""
        until(f"{self.name} is ready", lambda: "\"ready\"" in self.log().read_text() or self.process.poll() is not None)

    def is_running(self):
        """Whether its process is there."""
        return self.process is not None and self.process.poll() is None

    def end(self, number):
        """Sends a signal to it, and to who traces it, and waits for the end."""
        if not self.is_running():
            return
        os.killpg(self.process.pid, signal.SIGCONT)
        if number == signal.SIGTERM and self.is_traced:
            # The tracer passes nothing on.
            for child in pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
                os.kill(int(child), number)
        else:
            os.killpg(self.process.pid, number)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Stuck(f"{self.name} does not end by signal {number}") from None

    def crash(self):
        """Ends it as a loss of power would: what was not synced is gone."""
        self.end(signal.SIGKILL)
        if self.shim:
            self.lose_unsynced()

    def lose_unsynced(self):
        """Plays back what the shim noted."""
        files = {path.stat().st_ino: path for path in self.data.glob("journal.db*")}
        for note in self.undo.iterdir():
            path = files.get(int(note.name))
            if path is None:
                continue
            entries, data, at = [], note.read_bytes(), 0
            while at + 24 <= len(data):
                offset, length, size = struct.unpack_from("QQQ", data, at)
                if at + 24 + length > len(data):
                    break
                entries.append((offset, data[at + 24 : at + 24 + length], size))
                at += 24 + length
            with open(path, "r+b") as file:
                for offset, before, size in reversed(entries):
                    file.seek(offset)
                    file.write(before)
                    file.truncate(size)
        # Memory that is shared between processes, and no file.
        for path in self.data.glob("journal.db-shm"):
            path.unlink()

    def clock_off_by(self, seconds):
        """Its wall clock jumps."""
        with open(self.clock, "r+b") as clock:
            clock.write(struct.pack("q", seconds))

    def ask(self, *arguments, timeout=60):
        """What a subcommand prints; nothing where it fails."""
        command = [str(self.program), *arguments, "-c", str(self.config)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=timeout, check=False, env={"PATH": os.environ["PATH"]})
        except subprocess.TimeoutExpired:
            return None
        with open(self.place / f"{self.name}-commands.log", "ab") as log:
            log.write(done.stderr)
        return done.stdout if done.returncode == 0 else None

    def status(self):
        """Its status, where it answers."""
        text = self.ask("status", "--json")
        return json.loads(text) if text else None

    def address(self, source):
        """Where it takes pushes."""
        for line in reversed(self.log().read_text().splitlines()):
            if '"listening"' in line and f'"source":"{source}"' in line:
                return re.search(r'"address":"([^"]+)"', line).group(1)
        return None


def push(address, text):
    """Pushes one event; whether it was acknowledged."""
    body = text.encode()
    headers = {"X-Flipt-Webhook-Signature": hmac.new(SECRET, body, hashlib.sha256).hexdigest()}
    try:
        connection = http.client.HTTPConnection(address, timeout=5)
        connection.request("POST", "/v1/events", body, headers)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
