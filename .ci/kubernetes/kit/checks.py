"""What must hold of Flipt's pod with the relay beside it. Each function yields what is wrong as sentences."""

import copy
import re

import yaml

import manifests

RELAY = "audit-relay"
# Its ConfigMap and its Secret: not those of a hub, by the chart, in the same namespace.
OWN = "flipt-audit-relay"
FLIPT = "flipt"
LOG = "/var/log/flipt/audit.log"
FLIPT_ENV = {
    "FLIPT_AUDIT_SINKS_LOG_ENABLED": "true",
    "FLIPT_AUDIT_SINKS_LOG_FILE": LOG,
    "FLIPT_AUDIT_SINKS_LOG_ENCODING": "json",
}
VOLUMES = {"audit-relay-log", "audit-relay-data", "audit-relay-config", "audit-relay-secrets"}
# Native sidecars are on by default from 1.29 on.
VERSIONS = {"native": range(29, 36), "container": range(27, 36)}
# What a chart names and its own release does not bring.
ELSEWHERE = {"Secret/registry"}
FLIPT_ENDS_SECONDS = 5
MIB = 1 << 20


def by_name(items, key="name"):
    return {item[key]: item for item in items or []}


def bytes_of(quantity):
    """`1Gi`, `256MiB` and the like."""
    number, unit = re.fullmatch(r"(\d+)([KMG])iB?", quantity).groups()
    return int(number) << {"K": 10, "M": 20, "G": 30}[unit]


def seconds_of(duration):
    number, unit = re.fullmatch(r"(\d+)(s|m)", duration).groups()
    return int(number) * {"s": 1, "m": 60}[unit]


def workload(objects):
    """Flipt's Deployment, or its StatefulSet."""
    found = [
        document for document in manifests.of_kind(objects, "Deployment", "StatefulSet")
        if document["metadata"]["labels"].get("app.kubernetes.io/name") == FLIPT
    ]
    assert len(found) == 1, f"{len(found)} workloads of Flipt"
    return found[0]


def pod_of(objects):
    return workload(objects)["spec"]["template"]["spec"]


def relay_of(objects):
    pod = pod_of(objects)
    return by_name(manifests.containers(pod)).get(RELAY)


def shape(value):
    """The same for objects that differ only in the order of what is named."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        for key in ("mountPath", "name"):
            names = [item.get(key) for item in value]
            if None not in names and len(set(names)) == len(names):
                return {name: shape(item) for name, item in zip(names, value)}
    return [shape(item) for item in value] if isinstance(value, list) else value


def differences(before, after, path=""):
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys(), key=str):
            if key not in before or key not in after:
                yield f"{path}/{key} is {'new' if key in after else 'gone'}"
            else:
                yield from differences(before[key], after[key], f"{path}/{key}")
    elif before != after:
        yield f"{path} was {before!r} and is {after!r}"


def without_kit(document):
    """Flipt's workload less what the kit adds."""
    rest = copy.deepcopy(document)
    pod = rest["spec"]["template"]["spec"]
    for kind in ("initContainers", "containers"):
        if kind in pod:
            pod[kind] = [container for container in pod[kind] if container["name"] != RELAY]
            if not pod[kind]:
                del pod[kind]
    pod["volumes"] = [volume for volume in pod.get("volumes", []) if volume["name"] not in VOLUMES]
    pod.pop("terminationGracePeriodSeconds", None)
    flipt = by_name(pod["containers"])[FLIPT]
    flipt["env"] = [variable for variable in flipt.get("env", []) if variable["name"] not in FLIPT_ENV]
    flipt["volumeMounts"] = [mount for mount in flipt.get("volumeMounts", []) if mount["name"] not in VOLUMES]
    return rest


def wrong(before, after, placement, defaults):
    """Everything that is wrong with what the kit made of `before`; `defaults` are the relay's own."""
    yield from untouched(before, after)
    yield from invalid(after, VERSIONS[placement])
    known = set(manifests.dangling(before, ELSEWHERE))
    yield from (sentence for sentence in manifests.dangling(after, ELSEWHERE) if sentence not in known)
    pod, relay = pod_of(after), relay_of(after)
    if relay is None:
        yield "there is no relay in Flipt's pod"
        return
    yield from manifests.unrestricted("Flipt's pod", pod, {RELAY})
    yield from placed(pod, relay, placement)
    yield from harmless(pod, relay)
    yield from mounted(pod, relay, defaults)
    yield from stored(pod, relay)
    yield from ended(pod, relay, placement, defaults)
    yield from configured(after, pod, relay)


found_valid = set()


def invalid(objects, minors):
    """As `manifests.invalid`; what was valid once is not looked at again."""
    if len({manifests.title(document) for document in objects}) < len(objects):
        yield "two objects have one name"
    for document in objects:
        for minor in minors:
            key = (minor, yaml.safe_dump(document))
            sentences = [] if key in found_valid else list(manifests.invalid([document], f"1.{minor}"))
            yield from sentences
            if not sentences:
                found_valid.add(key)


def untouched(before, after):
    """Whatever is not the kit's stays as it was."""
    def named(objects):
        return {(document["apiVersion"], manifests.title(document)): document for document in objects}

    old, new = named(before), named(after)
    changed = next(key for key, document in new.items() if document is workload(after))
    for key in sorted(old.keys() | new.keys() - {("v1", f"ConfigMap/{OWN}")}):
        if key not in new or key not in old:
            yield f"{key[1]} is {'new' if key in new else 'gone'}"
        elif key == changed:
            pair = (shape(without_kit(old[key])), shape(without_kit(new[key])))
            yield from (f"{key[1]}: {sentence}" for sentence in differences(*pair))
        else:
            yield from (f"{key[1]}: {sentence}" for sentence in differences(shape(old[key]), shape(new[key])))
    replicas = [workload(objects)["spec"].get("replicas") for objects in (before, after)]
    if replicas[0] != replicas[1]:
        yield "the number of replicas differs"


def placed(pod, relay, placement):
    first = [container["name"] for container in pod.get("initContainers", [])]
    beside = [container["name"] for container in pod["containers"]]
    if placement == "native":
        if first[:1] != [RELAY] or RELAY in beside:
            yield "order: the relay is not what begins first"
        if relay.get("restartPolicy") != "Always":
            yield "restartPolicy: an init container that never ends would keep Flipt from starting"
    else:
        if beside[:1] != [FLIPT] or RELAY not in beside or RELAY in first:
            yield "order: the relay does not come after Flipt"
        if "restartPolicy" in relay:
            yield "restartPolicy: only init containers have one before 1.34"
    if relay.get("args") != ["run", "--sidecar"] or "command" in relay:
        yield f"args: {relay.get('args')} is not `run --sidecar` of the image's entry point"


def harmless(pod, relay):
    """Promise 8: Flipt neither waits for the relay nor falls with it."""
    for name in ("readinessProbe", "startupProbe", "lifecycle"):
        if name in relay:
            yield f"probes: the relay has a {name}"
    probe = relay.get("livenessProbe")
    if not probe or probe.get("httpGet", {}).get("path") != "/livez":
        yield "probes: the relay's livenessProbe does not ask /livez"
    elif probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3) < 60 or probe.get("timeoutSeconds", 1) < 5:
        yield "probes: the livenessProbe is impatient"
    if relay.get("imagePullPolicy") != "IfNotPresent":
        yield "imagePullPolicy: a registry that is away would keep a pod from starting"
    volumes = by_name(pod["volumes"])
    for mount in relay["volumeMounts"]:
        volume = volumes.get(mount["name"], {})
        source = volume.get("configMap", volume.get("secret"))
        if source is not None and source.get("optional") is not True:
            yield f"optional: without {mount['name']} Flipt's pod would not start"
        if "persistentVolumeClaim" in volume and mount["mountPath"] == "/var/lib/audit-relay":
            yield "data: a claim that is still attached elsewhere would keep Flipt's pod from starting"
    for variable in relay["env"]:
        source = variable.get("valueFrom", {})
        reference = source.get("secretKeyRef", source.get("configMapKeyRef"))
        if reference is not None and reference.get("optional") is not True:
            yield f"optional: without {variable['name']} Flipt's pod would not start"
    for source in relay.get("envFrom", []):
        if not all(reference.get("optional") for name, reference in source.items() if name != "prefix"):
            yield "optional: envFrom names what may be missing"
    ports = [port["containerPort"] for container in manifests.containers(pod) for port in container.get("ports", [])]
    names = [port["name"] for container in manifests.containers(pod) for port in container.get("ports", [])]
    if len(set(ports)) != len(ports) or len(set(names)) != len(names):
        yield "ports: the relay has one of Flipt's"
    if "memory" not in relay["resources"].get("limits", {}) or "cpu" in relay["resources"]["limits"]:
        yield "resources: a memory limit and no cpu limit is what the relay should have"
    if not {"cpu", "memory"} <= relay["resources"].get("requests", {}).keys():
        yield "resources: without requests an autoscaler of Flipt has nothing to compute with"


def mounted(pod, relay, defaults):
    """The relay reads the log, keeps its own things to itself, and can be started at all."""
    flipt = by_name(pod["containers"])[FLIPT]
    mounts, theirs = by_name(relay["volumeMounts"]), by_name(flipt["volumeMounts"])
    environment = {variable["name"]: variable.get("value") for variable in flipt["env"]}
    for name, value in FLIPT_ENV.items():
        if environment.get(name) != value:
            yield f"log sink: Flipt's {name} is {environment.get(name)}"
    log = mounts.get("audit-relay-log", {})
    if theirs.get("audit-relay-log", {}).get("mountPath") != "/var/log/flipt" or log.get("mountPath") != "/var/log/flipt":
        yield "log: Flipt and the relay do not share /var/log/flipt"
    if theirs.get("audit-relay-log", {}).get("readOnly"):
        yield "log: Flipt cannot write it"
    user = relay["securityContext"].get("runAsUser", pod["securityContext"].get("runAsUser"))
    if log.get("readOnly") is not True and user != flipt["securityContext"]["runAsUser"]:
        yield "uid: the relay has the log to write, and cannot"
    if log.get("readOnly") is True and user != 65532:
        yield f"uid: the relay only reads, and runs as {user}"
    if pod["securityContext"].get("fsGroup") != 1000:
        yield "fsGroup: is not that of Flipt"
    data = mounts.get("audit-relay-data", {})
    if data.get("mountPath") != defaults["data_dir"] or data.get("readOnly"):
        yield "data: the relay cannot write its data_dir"
    for name in ("audit-relay-config", "audit-relay-secrets"):
        if mounts.get(name, {}).get("readOnly") is not True:
            yield f"mounts: {name} is not read-only"
    for container in manifests.containers(pod):
        if container["name"] != RELAY:
            for name in VOLUMES - {"audit-relay-log"} & by_name(container.get("volumeMounts")).keys():
                yield f"mounts: {container['name']} has {name}"
    for mount in relay["volumeMounts"]:
        if "subPath" in mount or "subPathExpr" in mount:
            yield f"mounts: {mount['name']} by subPath would never be read again"
        for other in relay["volumeMounts"]:
            if other["mountPath"].startswith(mount["mountPath"] + "/"):
                yield f"mounts: {other['mountPath']} lies in another volume"
    ports = by_name(relay["ports"])
    port = relay.get("livenessProbe", {}).get("httpGet", {}).get("port")
    if ports.get(port, {}).get("containerPort") != int(defaults["health"]["listen"].rsplit(":", 1)[1]):
        yield "probes: the livenessProbe does not ask the health listener"


def stored(pod, relay):
    """A volume that overflows has the whole pod evicted."""
    volumes = by_name(pod["volumes"])
    environment = by_name(relay["env"])
    if "sizeLimit" in (volumes["audit-relay-log"].get("emptyDir") or {}):
        yield "sizeLimit: Flipt's log grows for ever, and above it Flipt is evicted"
    data = volumes["audit-relay-data"].get("emptyDir")
    if data is None:
        yield "data: is no emptyDir"
        return
    if "medium" in data or "medium" in (volumes["audit-relay-log"].get("emptyDir") or {}):
        yield "medium: memory counts against the limits of the pod"
    if "sizeLimit" not in data:
        yield "sizeLimit: the data_dir has none"
    else:
        journal = bytes_of(environment["AUDIT_RELAY__JOURNAL__MAX_SIZE"]["value"])
        # A damaged journal is kept beside the new one.
        if bytes_of(data["sizeLimit"]) < 2 * journal + 64 * MIB:
            yield "sizeLimit: two journals and 64 MiB do not fit into the data_dir"


def ended(pod, relay, placement, defaults):
    value = by_name(relay["env"]).get("AUDIT_RELAY__SHUTDOWN_KEEP_READING", {}).get("value")
    reading = seconds_of(value or defaults["shutdown_keep_reading"])
    if placement == "container" and reading <= FLIPT_ENDS_SECONDS:
        yield "shutdown_keep_reading: Flipt may write for longer"
    if placement == "native" and reading:
        yield "shutdown_keep_reading: Flipt has ended already"
    waits = reading if placement == "container" else FLIPT_ENDS_SECONDS
    needed = waits + seconds_of(defaults["shutdown_timeout"]) + seconds_of(defaults["telemetry"]["shutdown_timeout"])
    grace = pod.get("terminationGracePeriodSeconds", 30)
    if grace != 45 or grace <= needed:
        yield f"terminationGracePeriodSeconds: {grace} s, and the relay may take {needed} s"


def configured(objects, pod, relay):
    """The configuration that is mounted is the one that is read."""
    environment = by_name(relay["env"])
    name = environment.get("AUDIT_RELAY__NAME", {}).get("valueFrom", {})
    if name.get("fieldRef", {}).get("fieldPath") != "metadata.name":
        yield "name: the relay's is not that of the pod"
    volumes, mounts = by_name(pod["volumes"]), by_name(relay["volumeMounts"])
    volume = volumes.get("audit-relay-config", {}).get("configMap", {})
    maps = by_name([{**document, "name": document["metadata"]["name"]} for document in
                    manifests.of_kind(objects, "ConfigMap")])
    if volume.get("name") not in maps:
        yield f"configuration: there is no ConfigMap/{volume.get('name')}"
        return
    directory = mounts.get("audit-relay-config", {}).get("mountPath")
    files = {f"{directory}/{key}" for key in maps[volume["name"]]["data"]}
    if environment.get("AUDIT_RELAY_CONFIG", {}).get("value") not in files:
        yield f"configuration: the relay reads {environment.get('AUDIT_RELAY_CONFIG')}, and there is {sorted(files)}"
    secrets = mounts.get("audit-relay-secrets", {}).get("mountPath")
    if volumes["audit-relay-secrets"]["secret"]["secretName"] != OWN or secrets != "/etc/audit-relay/secrets":
        yield "secrets: are not where the configurations look for them"
