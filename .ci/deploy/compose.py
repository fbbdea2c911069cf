"""What must hold of deploy/compose.yaml and deploy/compose beyond what a schema says.

Each function takes the parsed files and yields what is wrong as sentences.
"""

import posixpath
import re

import yaml

FLIPT_IMAGE = "docker.flipt.io/flipt/flipt:v1.61.0"
FLIPT_CONFIGURATION = "/etc/flipt/config/default.yml"
# The directories of Flipt's image that belong to its user (its build/Dockerfile: chown, and adduser for the home). An
# empty named volume takes their owner over; on any other directory it stays root's, and Flipt cannot write.
OF_FLIPT = {"/var/opt/flipt", "/home/flipt"}
RELAY_USER = "65532:65532"
RELAY_STATE = "/var/lib/audit-relay"
RELAY_CONFIGURATION = "/etc/audit-relay"
KEEP_READING_SECONDS = 7

# The keys that are used, each with what Flipt v1.61.0 takes there: config/flipt.schema.json and internal/config/audit.go
# of its source. Of these sections its schema says additionalProperties: false, so nothing else may stand there.
FLIPT_KEYS = {
    "version": {"1.0"},
    "log.level": {"debug", "info", "warn", "error", "fatal", "panic"},
    "log.encoding": {"json", "console"},
    "db.url": str,
    "meta.check_for_updates": bool,
    "meta.telemetry_enabled": bool,
    "meta.state_directory": str,
    "audit.sinks.log.enabled": bool,
    "audit.sinks.log.file": str,
    "audit.sinks.log.encoding": {"json", "console"},
}


def leaves(tree, path=()):
    """The values of a tree of maps, by their keys joined with dots."""
    if not isinstance(tree, dict):
        yield ".".join(path), tree
        return
    for key, value in tree.items():
        yield from leaves(value, (*path, key))


def mounts(service):
    """What is mounted, by target. Every mount is in the long form."""
    return {mount["target"]: mount for mount in service.get("volumes", [])}


def seconds(text):
    """A duration of one unit, as Compose and the relay write it."""
    number, unit = re.fullmatch(r"(\d+)(s|m)", text).groups()
    return int(number) * {"s": 1, "m": 60}[unit]


def under(path, mounted):
    """The directory of `mounted` that `path` lies in."""
    return next((target for target in mounted if path == target or path.startswith(target + "/")), None)


def log_file(flipt):
    """Where Flipt writes its audit log; nothing where it is not said."""
    return dict(leaves(flipt)).get("audit.sinks.log.file", "")


def flipt_configuration(flipt):
    """Keys and values that Flipt v1.61.0 would not take, and what the relay needs of it."""
    values = dict(leaves(flipt))
    for key, value in values.items():
        wanted = FLIPT_KEYS.get(key)
        if wanted is None:
            yield f"flipt.yml: {key} is none of the keys that were looked up in Flipt's source"
        elif isinstance(wanted, set) and value not in wanted or isinstance(wanted, type) and type(value) is not wanted:
            yield f"flipt.yml: {key} is {value!r}"
    if values.get("audit.sinks.log.enabled") is not True or values.get("audit.sinks.log.encoding") != "json":
        yield "flipt.yml: the log sink is not on with encoding json"


def hardening(services):
    for name, service in services.items():
        if service.get("cap_drop") != ["ALL"] or service.get("cap_add"):
            yield f"{name}: capabilities are not all dropped"
        if service.get("security_opt") != ["no-new-privileges:true"]:
            yield f"{name}: no-new-privileges is missing"
        if service.get("read_only") is not True:
            yield f"{name}: the root file system is not read-only"
        if service.get("privileged") or str(service.get("user", "")).split(":")[0] in {"0", "root"}:
            yield f"{name}: it runs as root"
        for port in service.get("ports", []):
            if not str(port).startswith("127.0.0.1:"):
                yield f"{name}: port {port} is published beyond this machine"


def flipt_stands_alone(services):
    """Flipt starts and stays without the relay, whatever becomes of it."""
    text = yaml.safe_dump(services["flipt"])
    for word in ("depends_on", "audit-relay", "relay-data", "admin-token", "links", "network_mode"):
        if word in text:
            yield f"flipt: it knows of {word}"
    if services["flipt"]["image"] != FLIPT_IMAGE:
        yield f"flipt: the image is not {FLIPT_IMAGE}"


def volumes(compose, flipt):
    services = compose["services"]
    of_flipt, of_relay = mounts(services["flipt"]), mounts(services["audit-relay"])
    for name, service in services.items():
        for target, mount in mounts(service).items():
            if mount["type"] == "volume" and mount["source"] not in compose["volumes"]:
                yield f"{name}: there is no volume {mount['source']}"
            if name != "audit-relay" and mount["type"] == "volume" and target not in OF_FLIPT:
                yield f"{name}: {target} is not the image's user's: a volume there stays root's"
    log = log_file(flipt)
    place = under(log, of_flipt)
    if place is None:
        yield f"flipt: {log} is on no volume"
    else:
        source = of_flipt[place]["source"]
        shared = [mount for mount in of_relay.values() if mount["source"] == source]
        if [mount["target"] for mount in shared] != [place]:
            yield f"audit-relay: {source} is not mounted at {place}, where Flipt has it"
        for mount in shared:
            if mount.get("read_only") is not True:
                yield "audit-relay: it may write where Flipt's log is"
            if mount.get("volume") != {"nocopy": True}:
                yield "audit-relay: its image could take over the owner of Flipt's volume"
    directory = services["flipt"].get("working_dir", "/")
    database = posixpath.join(directory, flipt["db"]["url"].removeprefix("file:"))
    for path in (database, flipt["meta"]["state_directory"]):
        home = under(path, of_flipt)
        if home is None or home == place:
            yield f"flipt: {path} is on no volume of its own"
    if of_flipt.get(FLIPT_CONFIGURATION, {}).get("read_only") is not True:
        yield "flipt: its configuration is not mounted"
    writable = [target for target, mount in of_relay.items() if not mount.get("read_only")]
    if writable != [RELAY_STATE]:
        yield f"audit-relay: it may write to {writable}"
    configuration = of_relay.get(RELAY_CONFIGURATION, {})
    if configuration.get("type") != "bind" or configuration.get("source") != "./compose/relay":
        yield "audit-relay: its configuration is not mounted as a directory: an edit would not be seen"


def relay(compose, relay_configuration, flipt):
    """How the relay is started and stopped, and that its configuration fits what is mounted."""
    service = compose["services"]["audit-relay"]
    if service.get("user") != RELAY_USER:
        yield f"audit-relay: user is not {RELAY_USER}"
    if (service.get("build"), service.get("pull_policy")) != ("..", "build"):
        yield "audit-relay: its image may come from a registry"
    if "mem_limit" not in service or "pids_limit" not in service:
        yield "audit-relay: its memory or its processes are not bounded"
    if "flipt" in service.get("depends_on", {}):
        yield "audit-relay: depending on flipt it is stopped first, and misses Flipt's last lines"
    keep = seconds(relay_configuration.get("shutdown_keep_reading", "0s"))
    deliver = seconds(relay_configuration.get("shutdown_timeout", "20s"))
    if keep < KEEP_READING_SECONDS:
        yield f"relay: shutdown_keep_reading is {keep} s, and Flipt may write for 5 s after SIGTERM"
    if seconds(service["stop_grace_period"]) <= keep + deliver + 5:
        yield "audit-relay: stop_grace_period is not above what its shutdown may take"
    if relay_configuration["sources"]["flipt"]["path"] != log_file(flipt):
        yield "relay: its source is not where Flipt writes"
    token = relay_configuration["admin"]["token"]["file"]
    place = under(token, mounts(service))
    maker = compose["services"]["admin-token"]
    made = mounts(maker).get(maker.get("working_dir"), {})
    if place is None or mounts(service)[place]["source"] != made.get("source"):
        yield f"relay: nobody makes {token}"
    elif f"mv new {token.removeprefix(place + '/')}" not in maker["command"][-1]:
        yield f"relay: {token} is not what admin-token makes"
    log = mounts(compose["services"]["flipt"]).get(under(log_file(flipt), mounts(compose["services"]["flipt"])))
    if log and log not in maker["volumes"]:
        yield f"admin-token: it does not take {log['source']} over for Flipt's user, and the relay may come before Flipt"
    if service["depends_on"].get("admin-token") != {"condition": "service_completed_successfully"}:
        yield "audit-relay: it may start before its token is there"
    listened = {relay_configuration["admin"]["listen"].rpartition(":")[2], "9464"}
    if {str(port).rpartition(":")[2] for port in service["ports"]} != listened:
        yield f"audit-relay: published ports are not {sorted(listened)}"


def wrong(directory):
    """Everything that is wrong with the Compose files in `directory`, a pathlib.Path of `deploy`."""
    compose = yaml.safe_load((directory / "compose.yaml").read_text())
    flipt = yaml.safe_load((directory / "compose" / "flipt.yml").read_text())
    configuration = yaml.safe_load((directory / "compose" / "relay" / "config.yaml").read_text())
    yield from flipt_configuration(flipt)
    yield from hardening(compose["services"])
    yield from flipt_stands_alone(compose["services"])
    yield from volumes(compose, flipt)
    yield from relay(compose, configuration, flipt)
