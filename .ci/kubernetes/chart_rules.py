"""What must hold of the objects that the chart makes, beyond manifests.py: each rule yields what is wrong as sentences.

What follows from the relay's configuration is read from it here once more, by other means than the chart's templates.
"""

import json
import re
import urllib.parse

import yaml
from manifests import containers, of_kind, pods, probes, title

SECRETS = "/etc/audit-relay/secrets/"
# What the chart makes. Nothing of it reaches another pod: no webhook of the API server, no role, nothing of the cluster.
KINDS = {"ConfigMap", "NetworkPolicy", "Pod", "PodDisruptionBudget", "PodMonitor", "PrometheusRule", "Secret", "Service",
         "ServiceAccount", "ServiceMonitor", "StatefulSet"}
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


class Given:
    """Values, and what the configuration in them asks for."""

    def __init__(self, values, default_config):
        self.values = yaml.safe_load(values) or {}
        config = self.values.get("config") or default_config
        self.text = config if isinstance(config, str) else None
        self.config = yaml.safe_load(config) if self.text else config
        self.http = {name: source for name, source in self.config["sources"].items() if source["type"] == "http"}

    def value(self, path, default=None):
        """A value by its path with dots, where it was given."""
        at = self.values
        for step in path.split("."):
            at = at.get(step) if isinstance(at, dict) else None
        return default if at is None else at

    def port(self, listen):
        """The port of an address to listen on."""
        return int(listen.rsplit(":", 1)[1])

    def intake(self):
        """Ports of the sources of type http."""
        return {self.port(source.get("listen", ":8787")) for source in self.http.values()}

    def health(self):
        """The port of the health listener."""
        return self.port(self.config.get("health", {}).get("listen", ":9464"))

    def admin(self):
        """The port of the admin listener as a set, which is empty where it listens on loopback."""
        listen = self.config.get("admin", {}).get("listen", "127.0.0.1:9465")
        return set() if listen.startswith("127.") else {self.port(listen)}

    def grace(self):
        """Seconds that a shutdown may take."""
        times = [self.config.get("shutdown_timeout", "20s"), self.config.get("shutdown_keep_reading", "0s"),
                 self.config.get("telemetry", {}).get("shutdown_timeout", "5s")]
        parts = [part for text in times for part in re.findall(r"(\d+)([a-z]+)", text)]
        return sum(int(number) * UNITS[unit] for number, unit in parts)

    def scalars(self):
        """Every text of the configuration."""
        waiting = [self.config]
        while waiting:
            value = waiting.pop()
            if isinstance(value, dict):
                waiting += value.values()
            elif isinstance(value, list):
                waiting += value
            elif isinstance(value, str):
                yield value

    def outside(self):
        """Ports of the addresses in the configuration and in the environment, those of links left out."""
        links = {link["url"] for link in self.config.get("links", [])}
        texts = [*self.scalars(), *(item.get("value", "") for item in self.value("extraEnv", []))]
        for text in texts:
            if re.match("https?://", text) and text not in links:
                address = urllib.parse.urlsplit(text)
                yield address.port or {"http": 80, "https": 443}[address.scheme]


def the(objects, kind, name=None):
    """The only object of a kind, or the one whose name ends so."""
    return next((found for found in of_kind(objects, kind)
                 if name is None or found["metadata"]["name"].endswith(name)), None)


def configuration(given, objects):
    """The ConfigMap holds what was given: a text to the byte, a map by its meaning."""
    found = the(objects, "ConfigMap")["data"]["config.yaml"]
    if given.text is not None and found != given.text:
        yield f"the configuration is not what was given: {found!r}"
    if yaml.safe_load(found) != given.config:
        yield "the configuration does not mean what was given"


def laid_out(objects, volumes, at):
    """What ConfigMaps put below /etc/audit-relay: texts by their relative paths; `volumes` by name, mounts by path in `at`."""
    maps = {found["metadata"]["name"]: found["data"] for found in of_kind(objects, "ConfigMap")}
    found = {}
    for path, name in at.items():
        data = maps.get(volumes.get(name, {}).get("configMap", {}).get("name"), {})
        found |= {f"{path}/{key}".removeprefix("/etc/audit-relay/"): text for key, text in data.items()}
    return found


def mounts(given, objects):
    """Whole directories are mounted, and what the configuration reads below `SECRETS` is among what is mounted there."""
    if "subPath" in json.dumps([pod for _, _, pod in pods(objects)]):
        yield "a subPath: what is mounted so never changes"
    own = the(objects, "Secret")
    for what, _, pod in pods(objects):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for container in containers(pod):
            at = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            if volumes.get(at.get("/etc/audit-relay"), {}).get("configMap", {}).get("name") != the(
                    objects, "ConfigMap")["metadata"]["name"]:
                yield f"{what}: no configuration at /etc/audit-relay"
            named = [text.removeprefix(SECRETS) for text in given.scalars() if text.startswith(SECRETS)]
            sources = volumes.get(at.get("/etc/audit-relay/secrets"), {}).get("projected", {}).get("sources", [])
            there = {source["secret"]["name"] for source in sources}
            for name in named:
                in_own = own and name in own["data"] and own["metadata"]["name"] in there
                if not in_own and given.value("existingSecret", "?") not in there:
                    yield f"{what}: {name} is read, and not mounted"
            if laid_out(objects, volumes, at).keys() != {"config.yaml", *given.value("files", {})}:
                yield f"{what}: the files are {sorted(laid_out(objects, volumes, at))}"


def health(given, objects):
    """Probes ask the health listener, and are those that were wanted."""
    for what, _, pod in pods(objects):
        for container in containers(pod):
            for name, probe in probes(container):
                path = {"readinessProbe": "/readyz"}.get(name, "/livez")
                if probe.get("httpGet") != {"path": path, "port": "health"}:
                    yield f"{what}: {name} asks {probe}"
    stateful = the(objects, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    expected = {name for name, _ in probes(stateful)}
    wanted = {f"{name}Probe" for name in ("liveness", "readiness")
              if given.value("probes", {}).get(name, {}) is not None}
    if expected != wanted:
        yield f"probes are {expected}"


def pod_settings(given, objects):
    """No token, no service links; grace period, arguments, the volume of the journal, and labels that never change."""
    for what, _, pod in pods(objects):
        if pod.get("enableServiceLinks") is not False:
            yield f"{what}: enableServiceLinks is not false"
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{what}: a token is mounted"
    for account in of_kind(objects, "ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"{title(account)} gives a token"
    stateful = the(objects, "StatefulSet")["spec"]
    pod = stateful["template"]["spec"]
    wanted = given.value("terminationGracePeriodSeconds")
    grace = pod.get("terminationGracePeriodSeconds", 30)
    if grace <= given.grace() or (wanted and grace != wanted):
        yield f"the grace period is {grace} s, a shutdown takes {given.grace()} s"
    if pod["containers"][0]["args"] != ["run", "--config", "/etc/audit-relay/config.yaml"]:
        yield "the relay is not started by its configuration"
    changing = {"helm.sh/chart", "app.kubernetes.io/version"}
    claims = stateful.get("volumeClaimTemplates", [])
    for labels in [stateful["template"]["metadata"]["labels"], *(claim["metadata"]["labels"] for claim in claims)]:
        if changing & labels.keys():
            yield "a label changes with the chart, and would restart the relay or break an upgrade"
    data = [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "data"]
    if data != [given.config.get("data_dir", "/var/lib/audit-relay")]:
        yield f"the volume of the journal is at {data}"
    on_volume = given.value("persistence.enabled", True)
    has_volume = bool(claims) or any("persistentVolumeClaim" in v and v["name"] == "data" for v in pod["volumes"])
    if on_volume != has_volume:
        yield "the journal is not on the volume that was asked for"


def network(given, objects):
    """Services and NetworkPolicy have the ports of the configuration."""
    services = {service["metadata"]["labels"]["app.kubernetes.io/component"]: service
                for service in of_kind(objects, "Service")}
    ports = {name: {port["port"] for port in service["spec"]["ports"]} for name, service in services.items()}
    wanted = {"headless": given.intake() | {given.health()} | given.admin(), "health": {given.health()}}
    wanted |= {"intake": given.intake()} if given.http else {}
    wanted |= {"admin": given.admin()} if given.admin() else {}
    if ports != wanted:
        yield f"the Services have the ports {ports}"
    policy = the(objects, "NetworkPolicy")
    if bool(policy) != given.value("networkPolicy.enabled", False):
        yield "a NetworkPolicy unasked for, or none"
    if policy:
        rules = policy["spec"]["ingress"]
        opened = {port["port"]: rule.get("from", []) for rule in rules for port in rule["ports"]}
        if opened.keys() != wanted["headless"]:
            yield f"the NetworkPolicy lets in at {sorted(opened)}"
        keys = {port: "intakeFrom" for port in given.intake()} | {given.health(): "healthFrom"}
        for port in opened:
            asked = given.value(f"networkPolicy.ingress.{keys.get(port, 'adminFrom')}", [])
            if opened[port][:len(asked)] != asked or bool(asked) != bool(opened[port]):
                yield f"the NetworkPolicy lets {opened[port]} in at {port}"
        out = sorted((port["port"], port["protocol"]) for rule in policy["spec"]["egress"] for port in rule["ports"])
        extra = given.value("networkPolicy.egress.ports", [])
        if out != sorted({(53, "UDP"), *((port, "TCP") for port in [53, 443, *given.outside(), *extra])}):
            yield f"the NetworkPolicy lets out at {out}"


def replicas(given, objects):
    """A PodDisruptionBudget for several replicas only."""
    budget = the(objects, "PodDisruptionBudget")
    several = the(objects, "StatefulSet")["spec"]["replicas"] > 1
    if bool(budget) != (several and given.value("podDisruptionBudget.enabled", True)):
        yield "a PodDisruptionBudget for one replica, or none for several"


def monitoring(given, objects):
    """What was switched on is there, where it was wanted, under the labels that were wanted."""
    wanted = {"serviceMonitor": ("ServiceMonitor", None), "podMonitor": ("PodMonitor", None),
              "prometheusRule": ("PrometheusRule", None), "dashboard": ("ConfigMap", "-dashboard")}
    for key, (kind, end) in wanted.items():
        found = the(objects, kind, end)
        if bool(found) != given.value(f"{key}.enabled", False):
            yield f"{key}: a {kind} unasked for, or none"
        if found and found["metadata"]["namespace"] != given.value(f"{key}.namespace", "flags"):
            yield f"{key}: in {found['metadata']['namespace']}"
        labels = given.value(f"{key}.labels", {})
        if found and not labels.items() <= found["metadata"]["labels"].items():
            yield f"{key}: without its labels"


def harmless(given, objects):
    """Promise 8: nothing in it touches Flipt, or anything else that is not the relay's."""
    name = the(objects, "StatefulSet")["metadata"]["name"]
    for found in objects:
        metadata = found["metadata"]
        elsewhere = {given.value(f"{key}.namespace") for key in
                     ("serviceMonitor", "podMonitor", "prometheusRule", "dashboard")} - {None}
        if found["kind"] not in KINDS:
            yield f"{title(found)} is of a kind that the chart does not make"
        if not metadata["name"].startswith(name) and found["kind"] != "ServiceAccount":
            yield f"{title(found)} does not bear the name of the release"
        if metadata["namespace"] not in {"flags", *elsewhere}:
            yield f"{title(found)} is in the namespace {metadata['namespace']}"
        hook = metadata.get("annotations", {}).get("helm.sh/hook")
        if hook not in (None, "test"):
            yield f"{title(found)} is a hook at {hook}"
    for what, _, pod in pods(objects):
        if pod.get("initContainers") or any("hostPath" in volume for volume in pod["volumes"]):
            yield f"{what} has init containers, or a path of the node"


def the_test(given, objects):
    """`helm test` goes through each source of type http, at addresses that are Services."""
    asked = {name: source for name, source in given.http.items() if "ca" not in source.get("tls", {})}
    pod = the(objects, "Pod")
    if bool(pod) != (bool(asked) and given.value("test.enabled", True)):
        yield "a test that is not asked for, or none"
    if not pod:
        return
    services = {f"{service['metadata']['name']}.flags.svc.cluster.local": service["spec"]
                for service in of_kind(objects, "Service")}
    through = {}
    for container in pod["spec"]["containers"]:
        words = container["args"]
        options = dict(zip(words[1::2], words[2::2]))
        through[options["--through"]] = options
        over_tls = "cert" in given.http.get(options["--through"], {}).get("tls", {})
        if options.get("--ca") != (given.value("test.ca") if over_tls else None):
            yield f"the test trusts {options.get('--ca')}"
        if words[0] != "send-test" or options["-c"] != "/etc/audit-relay/config.yaml":
            yield f"the test runs {words}"
        for key in ("--url", "--health"):
            address = urllib.parse.urlsplit(options[key])
            host = re.sub(r"^[^.]+-0\.", "", address.hostname)
            if address.port not in {port["port"] for port in services.get(host, {}).get("ports", [])}:
                yield f"the test asks {options[key]}, which is no Service"
    if through.keys() != asked.keys():
        yield f"the test goes through {sorted(through)}"
    for name, options in through.items():
        if name in asked and given.port(options["--url"]) != given.port(asked[name].get("listen", ":8787")):
            yield f"the test of {name} asks {options['--url']}"


RULES = (configuration, mounts, health, pod_settings, network, replicas, monitoring, harmless, the_test)


def broken(given, objects):
    """Everything that is wrong, by all rules."""
    for rule in RULES:
        yield from rule(given, objects)
