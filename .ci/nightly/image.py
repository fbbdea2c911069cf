"""The image put to use: image.py IMAGE VERSION REVISION RUST_AUDIT_INFO

Looks at what it is made of, then runs it with podman as a careful cluster would: no root, no capability, no new
privilege, a root file system that is read-only, 64 MB of memory. Flipt's captured lines come in from a volume that
is read-only; what is delivered arrives here, by HTTP and HTTPS, under names that a hosts file and a small DNS server
tell. Ends with status 1 at the first thing that is not so.
"""

import collections
import contextlib
import hashlib
import hmac
import http.server
import json
import pathlib
import re
import shutil
import socket
import socketserver
import ssl
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request

IMAGE, VERSION, REVISION, RUST_AUDIT_INFO = sys.argv[1:]
FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "flipt"
LOGS = ["v0.2_logfile_encoding-json.log", "v0.2_logfile_encoding-console_DEFAULT.log",
        "v0.1_logfile_flipt-v1.21.0.log", "v0.1_logfile_flipt-v1.30.0.log", "v0.1_logfile_flipt-v1.42.1.log"]
# How many further lines come in under the limit of memory, and that limit.
LOAD, LIMIT_BYTES = 20_000, 64 * 1024 * 1024
# All that the image may take, unpacked.
SIZE_LIMIT_BYTES = 15_000_000
DATA = "/var/lib/audit-relay"
SECRET = "whsec_is_not_what_this_is"
RESOLVER = "127.0.0.53"
PATIENCE = 120
PODMAN = ["podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs"]
# The defaults of podman may be above what this machine allows; the network of its own needs further programs.
PLAIN = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--network=host"]
CAREFUL = [*PLAIN, "--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL", "--security-opt=no-new-privileges"]

# Tries each directory and each file, as whoever it runs as; prints what can be written.
PROBE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static int look(const char *path, const struct stat *status, int kind, struct FTW *at) {
    (void)at;
    if (!strcmp(path, "/proc") || !strcmp(path, "/sys") || !strcmp(path, "/dev")) return FTW_SKIP_SUBTREE;
    if (kind == FTW_D || kind == FTW_DNR) {
        char name[4096];
        snprintf(name, sizeof name, "%s/.probe", path);
        int file = open(name, O_CREAT | O_WRONLY, 0600);
        if (file >= 0) { puts(path); close(file); unlink(name); }
    } else if (S_ISREG(status->st_mode)) {
        int file = open(path, O_WRONLY);
        if (file >= 0) { puts(path); close(file); }
    }
    return FTW_CONTINUE;
}
int main(void) { return nftw("/", look, 64, FTW_PHYS | FTW_ACTIONRETVAL) < 0; }
"""


def run(*command, check=True, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if check and done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def podman(*arguments, **options):
    return run(*PODMAN, *arguments, **options)


def expect(true, what):
    if not true:
        sys.exit(f"NOT SO: {what}")
    print(f"  {what}")


def wait_until(condition, what):
    begun = time.monotonic()
    while not (found := condition()):
        if time.monotonic() - begun > PATIENCE:
            sys.exit(f"NOT SO within {PATIENCE} s: {what}")
        time.sleep(0.05)
    return found


class Receiver(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Keeps the envelopes that come, and counts requests that are not signed with SECRET."""

    daemon_threads = True

    def __init__(self, context=None):
        super().__init__(("127.0.0.1", 0), Handler)
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.lock = threading.Lock()
        self.envelopes, self.unsigned, self.hosts = [], 0, set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def ids(self):
        with self.lock:
            return [envelope["id"] for envelope in self.envelopes]

    def handle_error(self, request, address):
        if not isinstance(sys.exception() if hasattr(sys, "exception") else sys.exc_info()[1], OSError):
            super().handle_error(request, address)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        if self.headers["content-type"] == "application/x-ndjson":
            envelopes = [json.loads(line) for line in body.splitlines()]
        else:
            envelopes = json.loads(body)
            envelopes = envelopes if isinstance(envelopes, list) else [envelopes]
        with self.server.lock:
            self.server.envelopes += envelopes
            self.server.hosts.add(self.headers["host"].split(":")[0])
            self.server.unsigned += not hmac.compare_digest(
                signature, self.headers.get("x-flipt-webhook-signature", ""))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Names(threading.Thread):
    """Answers every question for an IPv4 address with 127.0.0.1, and others with nothing (RFC 1035)."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((RESOLVER, 53))
        self.asked = set()
        self.start()

    def run(self):
        while True:
            question, peer = self.socket.recvfrom(512)
            at, labels = 12, []
            while question[at]:
                labels.append(question[at + 1 : at + 1 + question[at]].decode())
                at += 1 + question[at]
            body = question[12 : at + 5]
            self.asked.add(".".join(labels))
            is_a = body[-4:-2] == b"\0\1"
            answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1" if is_a else b""
            counts = b"\0\1" + (b"\0\1" if is_a else b"\0\0") + b"\0\0\0\0"
            self.socket.sendto(question[:2] + b"\x81\x80" + counts + body + answer, peer)


def certificates(place):
    """An authority of our own, and a certificate of it for siem.example.com: (authority, context of the server)."""
    ca, key, leaf, leaf_key, request = (str(place / name) for name in
                                        ("ca.pem", "ca.key", "leaf.pem", "leaf.key", "leaf.csr"))
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run("openssl", "req", "-x509", *new_key, "-keyout", key, "-out", ca, "-days", "2", "-subj", "/CN=test authority")
    run("openssl", "req", *new_key, "-keyout", leaf_key, "-out", request, "-subj", "/CN=siem.example.com")
    (place / "extensions").write_text("subjectAltName=DNS:siem.example.com\nbasicConstraints=CA:FALSE\n")
    run("openssl", "x509", "-req", "-in", request, "-CA", ca, "-CAkey", key, "-CAcreateserial", "-days", "2",
        "-extfile", str(place / "extensions"), "-out", leaf)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf, leaf_key)
    return pathlib.Path(ca), context


def what_it_says():
    print("labels and entry")
    about = json.loads(podman("image", "inspect", IMAGE).stdout)[0]
    config = about["Config"]
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    expect(labels["version"] == VERSION, f"the label of the version is that of Cargo.toml, {VERSION}")
    expect(labels["revision"] == REVISION, f"revision {labels['revision'][:12]}")
    expect(labels["source"] == "https://git.example.com/audit-relay", "source as the build argument says")
    expect(labels["licenses"] == "Apache-2.0" and labels["title"] == "audit-relay" and len(labels["description"]) > 20,
           "licence, title, description")
    expect(config["Entrypoint"] == ["/usr/local/bin/audit-relay"] and config["Cmd"] == ["run"], "entry and command")
    expect(config["User"] == "65532:65532", "user 65532:65532")
    expect({port.split("/")[0] for port in config["ExposedPorts"]} == {"9464", "8787"}, "ports 9464 and 8787")
    expect(not config.get("Volumes"), "no VOLUME, which would stay writable")


def what_is_in_it(work):
    """Every file of the image, and what can be read from it without running it."""
    print("content")
    container = podman("create", IMAGE).stdout.strip()
    try:
        podman("export", "--output", str(work / "root.tar"), container)
    finally:
        podman("rm", "--force", container)
    with tarfile.open(work / "root.tar") as root:
        members = {member.name: member for member in root}
        program = root.extractfile("usr/local/bin/audit-relay").read()
        sbom = json.load(root.extractfile("usr/share/sbom/audit-relay.cdx.json"))
    files = {name: member for name, member in members.items() if member.isfile()}
    runnable = {name for name, member in files.items() if member.mode & 0o111}
    ours = {name for name in runnable if not re.search(r"/(ld-linux|libc\.so|libm\.so|libgcc_s\.so)[^/]*$", name)}
    expect(ours == {"usr/local/bin/audit-relay"}, "the program is all that can be run, beside the four libraries")
    expect(not any(member.mode & 0o6000 for member in files.values()), "nothing is setuid or setgid")
    loose = {name for name, member in members.items() if member.mode & 0o002 and not member.issym()
             and not name.startswith(("dev", "proc", "sys"))}
    expect(loose == {DATA[1:]}, f"all may write to {DATA} and to nothing else")
    expect(members[DATA[1:]].mode & 0o1777 == 0o1777, f"{DATA} is for any uid, mode 1777")
    packages = sorted(name.rsplit("/", 1)[1] for name in files if name.startswith("var/lib/dpkg/status.d/"))
    expect({"ca-certificates", "libc6", "libgcc-s1"} <= set(packages), f"scanners find {', '.join(packages)}")

    (work / "program").write_bytes(program)
    audited = json.loads(run(RUST_AUDIT_INFO, str(work / "program")).stdout)["packages"]
    crates = {(crate["name"], crate["version"]) for crate in audited if crate.get("kind") != "build"}
    listed = {(crate["name"], crate["version"]) for crate in sbom["components"]}
    expect(("audit-relay", VERSION) in crates and len(crates) > 100,
           f"the program itself tells its {len(crates)} crates (rust-audit-info)")
    expect(sbom["bomFormat"] == "CycloneDX" and crates - {("audit-relay", VERSION)} <= listed,
           f"the SBOM (CycloneDX {sbom['specVersion']}) lists {len(listed)}, all of these among them")

    print("size")
    size = {name: member.size for name, member in files.items()}
    total = sum(size.values())
    for name, of in sorted(size.items(), key=lambda item: -item[1])[:8]:
        print(f"  {of / 1e6:6.2f} MB  {name}")
    run("buildah", "push", "--quiet", IMAGE, f"dir:{work}/pushed")
    manifest = json.loads((work / "pushed" / "manifest.json").read_text())
    layers = [(work / "pushed" / layer["digest"].split(":")[1]).stat().st_size for layer in manifest["layers"]]
    expect(total <= SIZE_LIMIT_BYTES, f"{total / 1e6:.2f} MB in all; as pushed, gzip, {sum(layers) / 1e6:.2f} MB "
           f"({' + '.join(f'{layer / 1e6:.2f}' for layer in layers)})")


def what_can_be_written(work):
    print("writing, tried out by a program on each directory and file")
    (work / "probe.c").write_text(PROBE)
    run("gcc", "-static", "-O1", "-o", str(work / "probe"), str(work / "probe.c"))
    probe = ["-v", f"{work}/probe:/probe:ro", "--entrypoint", "/probe"]
    locked = podman("run", "--rm", *CAREFUL, *probe, IMAGE).stdout.split()
    expect(locked == [], "read-only and without a volume: nothing")
    for user in ["65532:65532", "12345:0", "12345:12345"]:
        volume = podman("run", "--rm", *CAREFUL, "--user", user, "-v", DATA, *probe, IMAGE).stdout.split()
        expect(volume == [DATA], f"as {user} with a volume there: {DATA} alone")
    open_root = podman("run", "--rm", "--cap-drop=ALL", *PLAIN, *probe, IMAGE).stdout.split()
    expect(open_root == [DATA], f"though the root be writable: {DATA} alone")
    for shell in ["/bin/sh", "sh", "bash", "/busybox/sh"]:
        done = podman("run", "--rm", *CAREFUL, "--entrypoint", shell, IMAGE, "-c", "true", check=False)
        expect(done.returncode in (126, 127), f"there is no {shell}")


class Running:
    """A container of the image as a cluster runs it."""

    def __init__(self, name, *options):
        self.name = f"audit-relay-check-{name}"
        listen = [part for key in ("HEALTH", "ADMIN") for part in ("-e", f"AUDIT_RELAY__{key}__LISTEN=127.0.0.1:0")]
        podman("run", "--detach", "--name", self.name, *CAREFUL, *listen, *options, IMAGE)
        self.process = int(podman("inspect", "--format", "{{.State.Pid}}", self.name).stdout)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            print(self.log()[-3000:])
        podman("rm", "--force", "--volumes", self.name, check=False)

    def log(self):
        done = podman("logs", self.name, check=False)
        return done.stdout + done.stderr

    def status(self, key):
        text = pathlib.Path(f"/proc/{self.process}/status").read_text()
        return re.search(rf"^{key}:\s+(.*)$", text, re.MULTILINE)[1]

    def is_live(self):
        listening = re.search(r'"what":"health","address":"([^"]+)"', self.log())
        return urllib.request.urlopen(f"http://{listening[1]}/livez", timeout=10).status == 200

    def memory_group(self):
        """Its directory of the memory controller (version 1 or 2), if it has one of its own."""
        for line in pathlib.Path(f"/proc/{self.process}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            for place, mark in [(f"/sys/fs/cgroup/memory{path}", "memory.limit_in_bytes"), (f"/sys/fs/cgroup{path}", "memory.max")]:
                if ("memory" in controllers or not controllers) and path != "/" and pathlib.Path(place, mark).exists():
                    return pathlib.Path(place), mark
        return None, None

    def ends_in_order(self):
        begun = time.monotonic()
        podman("kill", "--signal", "TERM", self.name)
        status = int(podman("wait", self.name).stdout)
        expect(status == 0, f"SIGTERM ends it with status 0, in {time.monotonic() - begun:.1f} s")
        errors = [line for line in self.log().splitlines() if '"level":"ERROR"' in line or '"level":"WARN"' in line]
        expect(not errors, "no warning, no error in its log" + "".join(f"\n{line}" for line in errors))


def memory_option():
    """The option that limits memory, if cgroups are such here."""
    done = podman("run", "--rm", *PLAIN, "--memory", str(LIMIT_BYTES), "--memory-swap", str(LIMIT_BYTES), IMAGE, "--version", check=False)
    if done.returncode == 0:
        return ["--memory", str(LIMIT_BYTES), "--memory-swap", str(LIMIT_BYTES)]
    done = podman("run", "--rm", *PLAIN, "--memory", str(LIMIT_BYTES), IMAGE, "--version", check=False)
    if done.returncode == 0:
        return ["--memory", str(LIMIT_BYTES)]
    print(f"  CGROUPS ALLOW NO LIMIT OF MEMORY HERE, the peak is measured instead: {done.stderr.strip()[-200:]}")
    return []


def configuration(plain_port, private_port, trust):
    return f"""
sources: {{flipt: {{type: file, path: "/var/log/flipt/*.log"}}}}
destinations:
  plain:
    type: webhook
    url: http://receiver.example.com:{plain_port}/
    batch: {{max_events: 100}}
    signing: [{{scheme: flipt, secrets: [{{file: /etc/audit-relay/secrets/signing}}]}}]
  private:
    type: webhook
    url: https://siem.example.com:{private_port}/
    batch: {{max_events: 100}}
    signing: [{{scheme: flipt, secrets: [{{file: /etc/audit-relay/secrets/signing}}]}}]
    {trust}
routes: {{everything: {{to: [plain, private]}}}}
"""


def originals():
    """What Flipt wrote, each line as JSON, counted; and the lines of the load."""
    texts = [(FIXTURES / name).read_text() for name in LOGS]
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    story = texts[0].splitlines()
    load = [story[at % len(story)] for at in range(LOAD)]
    return texts, lines, load


def counted(lines):
    return collections.Counter(json.dumps(json.loads(line), sort_keys=True) for line in lines)


def delivers(work, names, title, user, trust, mounts, load, limit):
    """One container from start to end: every captured line arrives at both receivers, once, signed, whole."""
    print(title)
    place = work / title.replace(" ", "-")
    (place / "config" / "secrets").mkdir(parents=True)
    (place / "logs").mkdir()
    ca, context = certificates(place)
    shutil.copy(ca, place / "config" / "ca.pem")
    (place / "config" / "secrets" / "signing").write_text(SECRET + "\n")
    plain, private = Receiver(), Receiver(context)
    (place / "config" / "config.yaml").write_text(configuration(plain.server_port, private.server_port, trust))
    texts, lines, more = originals()
    # Under names of our own: some captures are called as if they were rotated copies.
    for at, text in enumerate(texts):
        (place / "logs" / f"audit-{'abcde'[at]}.log").write_text(text)
    (place / "resolv.conf").write_text(f"nameserver {RESOLVER}\noptions timeout:1 attempts:2\n")
    (place / "hosts").write_text("127.0.0.1 localhost receiver.example.com\n")
    names.asked.clear()
    wanted = lines + (more if load else [])
    options = ["--user", user, "-v", f"{place}/config:/etc/audit-relay:ro", "-v", f"{place}/logs:/var/log/flipt:ro",
               "-v", f"{place}/resolv.conf:/etc/resolv.conf:ro", "-v", f"{place}/hosts:/etc/hosts:ro", "-v", DATA,
               *limit, *(part.format(ca=ca) for part in mounts)]
    with Running(title.split()[0], *options) as relay:
        expect(relay.status("Uid").split() == [user.split(":")[0]] * 4, f"it runs as {user}")
        expect(int(relay.status("CapEff"), 16) == int(relay.status("CapBnd"), 16) == 0 and relay.status("NoNewPrivs") == "1",
               "with no capability and no way to any")
        wait_until(lambda: len(plain.ids()) >= len(lines) and len(private.ids()) >= len(lines),
                   f"{len(lines)} captured lines arrive at both receivers")
        if load:
            with (place / "logs" / "audit-a.log").open("a") as log:
                log.write("".join(line + "\n" for line in more))
            wait_until(lambda: len(plain.ids()) >= len(wanted) and len(private.ids()) >= len(wanted),
                       f"{len(wanted)} lines arrive at both receivers")
        expect(relay.is_live(), "/livez answers 200")
        standing = json.loads(podman("exec", relay.name, "audit-relay", "status", "--json").stdout)
        expect(standing["balanced"], "'audit-relay status' in the container says that the books balance")
        peak = int(relay.status("VmHWM").split()[0]) / 1024
        swapped = relay.status("VmSwap")
        group, mark = relay.memory_group()
        if limit:
            expect(group and int((group / mark).read_text()) == LIMIT_BYTES, "the kernel holds it to 64 MB")
            expect(swapped.split()[0] == "0", "none of it is swapped out")
        expect(peak * 1024 * 1024 < LIMIT_BYTES, f"peak memory {peak:.1f} MB, {int(relay.status('RssAnon').split()[0]) / 1024:.1f} MB anonymous at the end")
        relay.ends_in_order()
    for name, receiver in [("plain", plain), ("private", private)]:
        ids = receiver.ids()
        expect(len(ids) == len(set(ids)) == len(wanted), f"{name}: {len(ids)} events, no id twice")
        expect(all(re.fullmatch(r"evt_[0-9a-z]{26}", id) for id in ids), f"{name}: ids are as they should be")
        expect(receiver.unsigned == 0, f"{name}: every request is signed with the secret of the mounted file")
        data = collections.Counter(json.dumps(envelope["data"], sort_keys=True) for envelope in receiver.envelopes)
        expect(data == counted(wanted), f"{name}: each is what Flipt wrote")
    expect(set(plain.ids()) == set(private.ids()), "both know them by the same ids")
    expect(plain.hosts == {"receiver.example.com"} and "receiver.example.com" not in names.asked, "one name is from /etc/hosts")
    expect(private.hosts == {"siem.example.com"} and "siem.example.com" in names.asked, "the other is from DNS")


def is_not_fooled(work, names):
    """The authorities of the image do not know ours: without it nothing goes to the HTTPS receiver."""
    print("authority unknown")
    place = work / "unknown"
    (place / "config" / "secrets").mkdir(parents=True)
    _, context = certificates(place)
    private = Receiver(context)
    (place / "config" / "secrets" / "signing").write_text(SECRET)
    (place / "config" / "config.yaml").write_text(configuration(9, private.server_port, ""))
    (place / "resolv.conf").write_text(f"nameserver {RESOLVER}\n")
    with Running("unknown", "-v", f"{place}/config:/etc/audit-relay:ro", "-v", f"{FIXTURES}:/var/log/flipt:ro",
                 "-v", f"{place}/resolv.conf:/etc/resolv.conf:ro", "-v", DATA) as relay:
        wait_until(lambda: '"code":"untrusted"' in relay.log(), "the log says that nobody trusted has signed")
        expect(private.ids() == [], "refused, and the log says why")


def main():
    with contextlib.ExitStack() as stack:
        work = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        work.chmod(0o755)
        names = Names()
        what_it_says()
        what_is_in_it(work)
        what_can_be_written(work)
        limit = memory_option()
        delivers(work, names, "default user", "65532:65532", "tls: {ca: /etc/audit-relay/ca.pem}", [], True, limit)
        bundle = ["-v", "{ca}:/etc/ssl/certs/ca-certificates.crt:ro"]
        delivers(work, names, "arbitrary user of group 0", "12345:0", "", bundle, False, limit)
        delivers(work, names, "other user and group", "23456:23456", "", bundle, False, limit)
        is_not_fooled(work, names)


main()
