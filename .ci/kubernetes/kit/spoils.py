"""Ways to spoil what the kit makes, so that each check is seen to fail: (what, a part of what is to be told, how)."""

import checks
import manifests


def config(objects):
    return next(document for document in manifests.of_kind(objects, "ConfigMap")
                if document["metadata"]["name"] == "flipt-audit-relay")["data"]


def flipt(objects):
    return checks.by_name(checks.pod_of(objects)["containers"])["flipt"]


def volume(objects, name):
    return checks.by_name(checks.pod_of(objects)["volumes"])[name]


def mount(objects, name):
    return checks.by_name(checks.relay_of(objects)["volumeMounts"])[name]


def environment(objects, name):
    return checks.by_name(checks.relay_of(objects)["env"])[name]


def drop(items, name):
    items[:] = [item for item in items if item["name"] != name]


def of(placement):
    relay, pod = checks.relay_of, checks.pod_of
    probe = {"httpGet": {"path": "/readyz", "port": "relay-health"}}
    shared = [
        ("a readiness probe", "readinessProbe", lambda o: relay(o).update(readinessProbe=probe)),
        ("a startup probe", "startupProbe", lambda o: relay(o).update(startupProbe=probe)),
        ("a hook", "lifecycle", lambda o: relay(o).update(lifecycle={"preStop": {"sleep": {"seconds": 1}}})),
        ("no liveness probe", "livenessProbe", lambda o: relay(o).pop("livenessProbe")),
        ("an impatient probe", "impatient", lambda o: relay(o)["livenessProbe"].update(failureThreshold=1)),
        ("a probe of Flipt's port", "health listener",
         lambda o: relay(o)["livenessProbe"]["httpGet"].update(port=8080)),
        ("an image that is always pulled", "imagePullPolicy", lambda o: relay(o).update(imagePullPolicy="Always")),
        ("a Secret that must be there", "optional",
         lambda o: volume(o, "audit-relay-secrets")["secret"].pop("optional")),
        ("a ConfigMap that must be there", "optional",
         lambda o: volume(o, "audit-relay-config")["configMap"].update(optional=False)),
        ("a variable from a Secret", "optional", lambda o: relay(o)["env"].append(
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y"}}})),
        ("no sizeLimit", "sizeLimit", lambda o: volume(o, "audit-relay-data")["emptyDir"].pop("sizeLimit")),
        ("a small sizeLimit", "sizeLimit",
         lambda o: volume(o, "audit-relay-data")["emptyDir"].update(sizeLimit="256Mi")),
        ("a large journal", "sizeLimit",
         lambda o: environment(o, "AUDIT_RELAY__JOURNAL__MAX_SIZE").update(value="1GiB")),
        ("a log with a sizeLimit", "evicted", lambda o: volume(o, "audit-relay-log").update(emptyDir={"sizeLimit": "1Gi"})),
        ("a journal in memory", "medium", lambda o: volume(o, "audit-relay-data")["emptyDir"].update(medium="Memory")),
        ("a journal on a claim", "data", lambda o: (
            volume(o, "audit-relay-data").pop("emptyDir"),
            volume(o, "audit-relay-data").update(persistentVolumeClaim={"claimName": "x"}))),
        ("a journal on Flipt's volume", "data",
         lambda o: mount(o, "audit-relay-data").update(name="audit-relay-log")),
        ("Flipt sees the secrets", "flipt has", lambda o: flipt(o)["volumeMounts"].append(
            {"name": "audit-relay-secrets", "mountPath": "/secrets"})),
        ("a log that the relay may write", "uid", lambda o: mount(o, "audit-relay-log").pop("readOnly")),
        ("Flipt's user without need", "uid", lambda o: relay(o)["securityContext"].update(runAsUser=100)),
        ("root", "root", lambda o: relay(o)["securityContext"].update(runAsUser=0, runAsNonRoot=False)),
        ("a root that can be written", "write to its root",
         lambda o: relay(o)["securityContext"].update(readOnlyRootFilesystem=False)),
        ("another fsGroup", "fsGroup", lambda o: pod(o)["securityContext"].update(fsGroup=2000)),
        ("a mount by subPath", "subPath", lambda o: mount(o, "audit-relay-config").update(subPath="config.yaml")),
        ("a mount within a mount", "lies in another",
         lambda o: mount(o, "audit-relay-config").update(mountPath="/etc/audit-relay")),
        ("a mount of no volume", "no volume", lambda o: mount(o, "audit-relay-config").update(name="nowhere")),
        ("another path of the log", "share", lambda o: mount(o, "audit-relay-log").update(mountPath="/logs")),
        ("no log sink", "log sink", lambda o: drop(flipt(o)["env"], "FLIPT_AUDIT_SINKS_LOG_ENABLED")),
        ("a short grace period", "terminationGrace", lambda o: pod(o).update(terminationGracePeriodSeconds=30)),
        ("no name", "name:", lambda o: drop(relay(o)["env"], "AUDIT_RELAY__NAME")),
        ("a configuration elsewhere", "configuration", lambda o: drop(relay(o)["env"], "AUDIT_RELAY_CONFIG")),
        ("a ConfigMap with a hash", "configuration", lambda o: next(
            document for document in manifests.of_kind(o, "ConfigMap")
            if document["metadata"]["name"] == "flipt-audit-relay")["metadata"].update(name="audit-relay-h4sh")),
        ("not as a sidecar", "args", lambda o: relay(o).update(args=["run"])),
        ("a shell", "args", lambda o: relay(o).update(command=["sh", "-c"])),
        ("Flipt's port", "ports", lambda o: relay(o)["ports"].append({"name": "more", "containerPort": 8080})),
        ("no memory limit", "resources", lambda o: relay(o)["resources"].pop("limits")),
        ("no requests", "resources", lambda o: relay(o)["resources"].pop("requests")),
        ("a misspelt field", "Kubernetes 1.3", lambda o: relay(o).update(imagePulPolicy="Never")),
        ("another image of Flipt", "image was", lambda o: flipt(o).update(image="x")),
        ("no readiness of Flipt", "readinessProbe is gone", lambda o: flipt(o).pop("readinessProbe")),
        ("one more container", "more is new", lambda o: pod(o)["containers"].append(
            {"name": "more", "image": "x"})),
        ("service links", "enableServiceLinks is new", lambda o: pod(o).update(enableServiceLinks=False)),
        ("a changed Service", "Service/flipt",
         lambda o: manifests.of_kind(o, "Service")[0]["spec"].update(type="NodePort")),
        ("another object", "is new", lambda o: o.append(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "more"}})),
        ("another Secret", "secrets:", lambda o: volume(o, "audit-relay-secrets")["secret"].update(secretName="x")),
        ("one object twice", "one name", lambda o: o.append(o[0])),
        ("no relay", "there is no relay", lambda o: [
            drop(pod(o)[kind], "audit-relay") for kind in ("initContainers", "containers") if kind in pod(o)]),
    ]
    native = [
        ("no restartPolicy", "restartPolicy", lambda o: relay(o).pop("restartPolicy")),
        ("behind another init container", "order",
         lambda o: pod(o)["initContainers"].insert(0, {"name": "more", "image": "x"})),
        ("reading on", "keep_reading", lambda o: relay(o)["env"].append(
            {"name": "AUDIT_RELAY__SHUTDOWN_KEEP_READING", "value": "7s"})),
    ]
    plain = [
        ("before Flipt", "order", lambda o: pod(o)["containers"].reverse()),
        ("not reading on", "keep_reading", lambda o: drop(relay(o)["env"], "AUDIT_RELAY__SHUTDOWN_KEEP_READING")),
        ("a restartPolicy", "restartPolicy", lambda o: relay(o).update(restartPolicy="Always")),
    ]
    return shared + (native if placement == "native" else plain)
