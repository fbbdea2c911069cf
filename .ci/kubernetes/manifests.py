"""What must hold of manifests beyond what their schemas say: every name that is used is there, and pods are what the
`restricted` level of the Pod Security Standards asks for
(https://kubernetes.io/docs/concepts/security/pod-security-standards/).

Each function yields what is wrong as sentences, so that a caller tells everything at once.
"""

import warnings

import kubernetes_validate
import yaml

# Kinds of others, of which kubernetes-validate has no schema.
FOREIGN = {"monitoring.coreos.com/v1"}
WORKLOADS = {"Deployment", "StatefulSet", "DaemonSet", "Job"}


def documents(text):
    """The objects of a stream of YAML, empty documents left out."""
    return [document for document in yaml.safe_load_all(text) if document]


def title(document):
    """`Kind/name`, for sentences."""
    return f"{document.get('kind')}/{document.get('metadata', {}).get('name')}"


def of_kind(objects, *kinds):
    return [document for document in objects if document["kind"] in kinds]


def invalid(objects, version):
    """What the API server of a Kubernetes `version` ("1.31") would not take, unknown fields among it."""
    for document in objects:
        if document["apiVersion"] in FOREIGN:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                kubernetes_validate.validate(document, version, strict=True)
        except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError,
                kubernetes_validate.InvalidSchemaError) as error:
            place = "/".join(str(step) for step in getattr(error, "path", ()))
            yield f"{title(document)} with Kubernetes {version}: {place}: {getattr(error, 'message', error)}"
    names = [(document["apiVersion"], title(document), document["metadata"].get("namespace")) for document in objects]
    for name in {name for name in names if names.count(name) > 1}:
        yield f"{name[1]} is there {names.count(name)} times"


def pods(objects):
    """(title, labels, spec) of every pod, and of every pod that a workload makes."""
    for document in objects:
        if document["kind"] == "Pod":
            yield title(document), document["metadata"].get("labels", {}), document["spec"]
        elif document["kind"] in WORKLOADS:
            template = document["spec"]["template"]
            yield title(document), template["metadata"].get("labels", {}), template["spec"]


def containers(pod):
    """Every container of a pod's spec, those that begin before the others first."""
    return pod.get("initContainers", []) + pod.get("containers", [])


def ports_of(pod):
    """Names and numbers under which the containers of a pod take connections."""
    ports = [port for container in containers(pod) for port in container.get("ports", [])]
    return {port["name"] for port in ports if "name" in port} | {port["containerPort"] for port in ports}


def probes(container):
    """(name, probe) of a container's probes and hooks that ask by HTTP, TCP or gRPC."""
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if name in container:
            yield name, container[name]


def dangling(objects, elsewhere=()):
    """Names that lead nowhere. `elsewhere` has `Kind/name` of what others bring (an existing Secret)."""
    there = {title(document) for document in objects} | set(elsewhere)
    for what, labels, pod in pods(objects):
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        claims = {
            claim["metadata"]["name"]
            for document in of_kind(objects, "StatefulSet") if title(document) == what
            for claim in document["spec"].get("volumeClaimTemplates", [])
        }
        names = [container["name"] for container in containers(pod)]
        for name in {name for name in names if names.count(name) > 1}:
            yield f"{what}: two containers are called {name}"
        for container in containers(pod):
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes.keys() | claims:
                    yield f"{what}: {container['name']} mounts {mount['name']}, which is no volume"
            paths = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
            for path in {path for path in paths if paths.count(path) > 1}:
                yield f"{what}: {container['name']} mounts two volumes at {path}"
            own = {port.get("name") for port in container.get("ports", [])} | {
                port["containerPort"] for port in container.get("ports", [])
            }
            for name, probe in probes(container):
                for way in ("httpGet", "tcpSocket"):
                    if way in probe and probe[way]["port"] not in own:
                        yield f"{what}: {name} of {container['name']} asks at {probe[way]['port']}, which is no port"
            for source in container.get("envFrom", []):
                yield from missing(what, there, source.get("secretRef"), "Secret")
                yield from missing(what, there, source.get("configMapRef"), "ConfigMap")
            for variable in container.get("env", []):
                source = variable.get("valueFrom", {})
                yield from missing(what, there, source.get("secretKeyRef"), "Secret")
                yield from missing(what, there, source.get("configMapKeyRef"), "ConfigMap")
        for volume in volumes.values():
            if "secret" in volume:
                name = {"name": volume["secret"]["secretName"], **volume["secret"]}
                yield from missing(what, there, name, "Secret")
            yield from missing(what, there, volume.get("configMap"), "ConfigMap")
            for source in volume.get("projected", {}).get("sources", []):
                yield from missing(what, there, source.get("secret"), "Secret")
                yield from missing(what, there, source.get("configMap"), "ConfigMap")
        account = pod.get("serviceAccountName")
        if account not in (None, "default") and f"ServiceAccount/{account}" not in there:
            yield f"{what}: there is no ServiceAccount/{account}"
    yield from unselected(objects)


def missing(what, there, reference, kind):
    if reference and not reference.get("optional") and f"{kind}/{reference['name']}" not in there:
        yield f"{what}: there is no {kind}/{reference['name']}"


def selects(selector, labels):
    return all(labels.get(name) == value for name, value in selector.items())


def unselected(objects):
    """Selectors that meet no pod, Services whose ports are none of the pod's."""
    all_pods = list(pods(objects))
    for document in objects:
        kind, spec = document["kind"], document.get("spec", {})
        if kind in WORKLOADS - {"Job"}:
            labels = spec["template"]["metadata"].get("labels", {})
            if not selects(spec["selector"]["matchLabels"], labels):
                yield f"{title(document)} does not select its own pods"
        if kind == "StatefulSet" and f"Service/{spec['serviceName']}" not in {title(other) for other in objects}:
            yield f"{title(document)}: there is no Service/{spec['serviceName']}"
        if kind == "Service" and spec.get("selector"):
            met = [pod for _, labels, pod in all_pods if selects(spec["selector"], labels)]
            if not met:
                yield f"{title(document)} selects no pod"
            for port in spec["ports"]:
                for pod in met:
                    if port.get("targetPort", port["port"]) not in ports_of(pod):
                        yield f"{title(document)}: {port.get('targetPort')} is no port of the pod"
        if kind in ("NetworkPolicy", "PodDisruptionBudget"):
            selector = spec["podSelector" if kind == "NetworkPolicy" else "selector"].get("matchLabels", {})
            if not any(selects(selector, labels) for _, labels, _ in all_pods):
                yield f"{title(document)} selects no pod"
        if kind in ("ServiceMonitor", "PodMonitor"):
            selector = spec["selector"]["matchLabels"]
            targets = all_pods if kind == "PodMonitor" else [
                (title(service), service["metadata"].get("labels", {}), service["spec"])
                for service in of_kind(objects, "Service")
            ]
            met = [spec for _, labels, spec in targets if selects(selector, labels)]
            if not met:
                yield f"{title(document)} selects nothing"
            for endpoint in spec.get("endpoints", spec.get("podMetricsEndpoints", [])):
                for target in met:
                    names = ports_of(target) if kind == "PodMonitor" else {port["name"] for port in target["ports"]}
                    if endpoint["port"] not in names:
                        yield f"{title(document)}: {endpoint['port']} is no port of what it selects"


def unrestricted(what, pod, only=None):
    """What the `restricted` level refuses of a pod, or of those of its containers that `only` names."""
    above = pod.get("securityContext", {})
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(key):
            yield f"{what}: {key}"
    for volume in pod.get("volumes", []):
        kinds = volume.keys() - {"name"}
        if not kinds <= {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim",
                         "projected", "secret"}:
            yield f"{what}: volume {volume['name']} is of a kind that is not allowed"
    for container in containers(pod):
        if only is not None and container["name"] not in only:
            continue
        own = container.get("securityContext", {})
        name = f"{what}: {container['name']}"
        if own.get("allowPrivilegeEscalation") is not False:
            yield f"{name} does not forbid allowPrivilegeEscalation"
        if own.get("capabilities", {}).get("drop") != ["ALL"] or own["capabilities"].get("add"):
            yield f"{name} keeps capabilities"
        if own.get("privileged"):
            yield f"{name} is privileged"
        if not own.get("runAsNonRoot", above.get("runAsNonRoot")):
            yield f"{name} may run as root"
        if own.get("runAsUser", above.get("runAsUser")) == 0:
            yield f"{name} runs as root"
        profile = own.get("seccompProfile", above.get("seccompProfile", {})).get("type")
        if profile not in ("RuntimeDefault", "Localhost"):
            yield f"{name} has no seccompProfile"
        if own.get("readOnlyRootFilesystem") is not True:
            yield f"{name} may write to its root"


def shown(objects, secrets):
    """Texts that stand elsewhere than in a Secret though they are secret."""
    for document in objects:
        if document["kind"] == "Secret":
            continue
        text = yaml.safe_dump(document)
        for secret in secrets:
            if secret in text:
                yield f"{title(document)} shows a secret"
