"""Checks deploy/compose.yaml, deploy/compose and deploy/systemd, and that each check can fail.

    check.py PROGRAM    PROGRAM: a built audit-relay

Needs check-jsonschema, compose-spec, PyYAML and pyseccomp in this Python; systemd-analyze, systemd-sysusers and
logrotate on the path. `.ci/deploy/run` brings them.
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import compose_spec

import acts
import compose
import units

ROOT = pathlib.Path(__file__).resolve().parents[2]
INSTALLED = "/usr/local/bin/audit-relay"
# Of 100, less is tighter; what is left is said in docs/standalone.md.
EXPOSURE_AT_MOST = 15


def output(*command):
    """What a command says, and whether it ended well."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    return done.returncode, (done.stdout + done.stderr).strip()


def complaints(code, text):
    if code:
        yield text


def uncommented(text):
    """A YAML file with the examples in its comments switched on: comments that are a key of small letters."""
    return re.sub(r"^( *)# ( *[a-z_]+:( .*)?)$", r"\1\2", text, flags=re.MULTILINE)


def by_others(program, deploy):
    """What judges that others wrote say: the schema of the Compose specification, a parser of it, systemd, logrotate,
    and the relay's own `check`."""
    judge = pathlib.Path(sys.executable).parent / "check-jsonschema"
    with tempfile.TemporaryDirectory() as directory:
        written, examples = pathlib.Path(directory) / "written.yaml", pathlib.Path(directory) / "examples.yaml"
        text = (deploy / "compose.yaml").read_text()
        written.write_text(text)
        examples.write_text(uncommented(text))
        for file in written, examples:
            yield from complaints(*output(judge, "--builtin-schema", "vendor.compose-spec", file))
            try:
                compose_spec.PyCompose.from_yaml(file.read_text())
            except ValueError as error:
                yield f"compose-spec: {error}"
        text = (deploy / "compose/relay/config.yaml").read_text()
        written.write_text(text)
        examples.write_text(uncommented(text))
        for file in written, examples:
            code, said = output(program, "check", "--no-environment", "--config", file)
            if code or "warning" in said:
                yield f"audit-relay check: {said}"
        if "slack" not in said:
            yield "config.yaml: its examples are gone"

    with tempfile.TemporaryDirectory() as directory:
        place = pathlib.Path(directory)
        unit = place / "audit-relay.service"
        text = (deploy / "systemd/audit-relay.service").read_text().replace(INSTALLED, str(program))
        examples = place / "examples" / unit.name
        examples.parent.mkdir()
        unit.write_text(text)
        examples.write_text(re.sub("^#([A-Z][A-Za-z]+=)", r"\1", text, flags=re.MULTILINE))
        # It says of keys that it does not know, and ends well all the same.
        for file in unit, examples:
            code, text = output("systemd-analyze", "verify", file)
            if code or text:
                yield f"systemd-analyze verify: {text}"
        code, text = output(
            "systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_AT_MOST}", unit
        )
        if code:
            yield f"systemd-analyze security: {text.splitlines()[-1]}"
        users = place / "usr/lib/sysusers.d/audit-relay.conf"
        users.parent.mkdir(parents=True)
        (place / "etc").mkdir()
        shutil.copy(deploy / "systemd/audit-relay.sysusers", users)
        code, text = output("systemd-sysusers", f"--root={place}")
        made = (place / "etc/passwd").read_text() if (place / "etc/passwd").exists() else ""
        if code or "audit-relay:x:" not in made:
            yield f"systemd-sysusers: {text}"
        code, text = output("logrotate", "-d", "-s", place / "state", deploy / "systemd/flipt-audit.logrotate")
        # It passes over what it does not know, and ends well.
        if code or "error:" in text or "Handling 1 logs" not in text:
            yield f"logrotate: {text}"


def wrong(program, deploy):
    yield from compose.wrong(deploy)
    yield from units.wrong(deploy)
    yield from by_others(program, deploy)


# A file, what is replaced in it, by what, and what must then be said.
SPOILED = [
    ("compose.yaml", "mem_limit: 128m", "memory_limit: 128m", "memory_limit"),
    ("compose.yaml", 'restart: unless-stopped\n    user:', 'restart: [often]\n    user:', "restart"),
    ("compose.yaml", '"127.0.0.1:9464:9464", ', "", "published ports"),
    ("compose.yaml", '["127.0.0.1:8080:8080"]', '["8080:8080"]', "published beyond this machine"),
    ("compose.yaml", "flipt:v1.61.0 # not v1.61.1: see README", "flipt:v1.61.1", "image is not"),
    ("compose.yaml", "cap_drop: [ALL]", "cap_drop: [NET_RAW]", "capabilities"),
    ("compose.yaml", "    read_only: true\n    cap_drop", "    cap_drop", "not read-only"),
    ("compose.yaml", "[\"no-new-privileges:true\"]", "[]", "no-new-privileges"),
    ("compose.yaml", 'user: "65532:65532"', 'user: "0:0"', "runs as root"),
    ("compose.yaml", "    restart: unless-stopped\n    ports", "    depends_on: [audit-relay]\n    ports", "it knows of"),
    ("compose.yaml", "      admin-token: {cond", "      flipt: {condition: service_started}\n      admin-token: {cond",
     "stopped first"),
    ("compose.yaml", "stop_grace_period: 45s", "stop_grace_period: 30s", "stop_grace_period"),
    ("compose.yaml", "target: /home/flipt}", "target: /var/lib/flipt}", "stays root's"),
    ("compose.yaml", "target: /var/opt/flipt, read_only: true, volume: {nocopy: true}}",
     "target: /var/opt/flipt, volume: {nocopy: true}}", "may write where Flipt's log is"),
    ("compose.yaml", "target: /var/opt/flipt, read_only: true, volume: {nocopy: true}}",
     "target: /var/opt/flipt, read_only: true}", "take over the owner"),
    ("compose.yaml", "source: ./compose/relay, target: /etc/audit-relay,",
     "source: ./compose/relay/config.yaml, target: /etc/audit-relay/config.yaml,", "mounted as a directory"),
    ("compose.yaml", "pull_policy: build", "pull_policy: missing", "come from a registry"),
    ("compose.yaml", "whoever is first.\n      - {type: volume, source: flipt-audit, target: /var/opt/flipt}\n",
     "whoever is first.\n", "may come before Flipt"),
    ("compose.yaml", "mv new token", "mv new other", "not what admin-token makes"),
    ("compose.yaml", "  flipt-data:\n", "", "no volume flipt-data"),
    ("compose/flipt.yml", "    log:\n", "    logfile:\n", "audit.sinks.logfile"),
    ("compose/flipt.yml", "encoding: json\ndb", "encoding: xml\ndb", "log.encoding is 'xml'"),
    ("compose/flipt.yml", "      encoding: json", "      encoding: console", "encoding json"),
    ("compose/flipt.yml", "/var/opt/flipt/audit.log", "/var/log/audit.log", "on no volume"),
    ("compose/flipt.yml", "file:flipt.db", "file:/var/opt/flipt/flipt.db", "volume of its own"),
    ("compose.yaml", "    working_dir: /home/flipt", "    working_dir: /", "volume of its own"),
    ("compose/relay/config.yaml", "shutdown_keep_reading: 7s", "shutdown_keep_reading: 0s", "may write for 5 s"),
    ("compose/relay/config.yaml", "type: console", "type: consol", "consol"),
    ("compose/relay/config.yaml", "/var/opt/flipt/audit.log", "/var/log/flipt/audit.log", "not where Flipt writes"),
    ("compose/relay/config.yaml", "token: {file: /run/audit-relay/token}", "token: {file: /run/token}", "nobody makes"),
    ("compose/relay/config.yaml", "webhook_url: {file", "webhook_uri: {file", "webhook_uri"),
    ("compose.yaml", "#   slack: {file:", "#   slack: {fil:", "fil"),
    ("systemd/audit-relay.service", "#LoadCredential=", "#LoadCredentials=", "LoadCredentials"),
    ("systemd/audit-relay.service", "ProtectHome=yes", "ProtectHme=yes", "ProtectHme"),
    ("systemd/audit-relay.service", "Type=exec", "Type=notify", "Type is"),
    ("systemd/audit-relay.service", "TimeoutStopSec=45s", "TimeoutStopSec=20s", "TimeoutStopSec"),
    ("systemd/audit-relay.service", "RestrictNamespaces=yes\n", "", "security:"),
    ("systemd/audit-relay.service", "MemoryMax=256M\n", "", "memory is not bounded"),
    ("systemd/audit-relay.sysusers", "u audit-relay", "x audit-relay", "systemd-sysusers"),
    ("systemd/flipt-audit.logrotate", "    copytruncate", "    copytruncat", "unknown option"),
    ("systemd/flipt-audit.logrotate", "    delaycompress\n", "", "delaycompress is missing"),
    ("systemd/flipt-audit.logrotate", "    missingok\n", "    missingok\n    create\n", "opens its file anew"),
]


def spoil(program, deploy):
    """Each fault is found, and by the words that are expected."""
    for name, old, new, expected in SPOILED:
        with tempfile.TemporaryDirectory() as directory:
            copy = pathlib.Path(directory) / "deploy"
            shutil.copytree(deploy, copy)
            text = (copy / name).read_text()
            if old not in text:
                yield f"{name} has no {old!r} to spoil"
                continue
            (copy / name).write_text(text.replace(old, new, 1))
            try:
                said = list(wrong(program, copy))
            except Exception as error:  # noqa: BLE001: a check that breaks did not find the fault
                yield f"{name} with {new!r}: the check broke: {error!r}"
                continue
            if not any(expected in sentence for sentence in said):
                yield f"{name} with {new!r}: nobody says {expected!r}, but {said}"


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    deploy = ROOT / "deploy"
    found = list(wrong(program, deploy))
    if not found:
        print("Compose and systemd files: nothing to say")
        found += spoil(program, deploy)
        if not found:
            print(f"{len(SPOILED)} spoiled copies: each refused")
    if not found:
        for told in acts.act(program, deploy):
            print(told)
        acts.refused_by_the_filter(program, deploy)
        print("a unit that forbids what the relay needs ends it")
    for sentence in found:
        print(f"wrong: {sentence}")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
