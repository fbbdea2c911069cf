"""What is spoilt on purpose: each row is a case, a part of what must be said of it then, and what is done to its objects."""

from chart_cases import PLANTED
from chart_helm import DEFAULT_CONFIG
from chart_rules import the


def pod(objects):
    return the(objects, "StatefulSet")["spec"]["template"]["spec"]


def relay(objects):
    return pod(objects)["containers"][0]


def test(objects):
    return the(objects, "Pod")["spec"]


def volume(objects, name):
    return next(volume for volume in pod(objects)["volumes"] if volume["name"] == name)


def mount(objects, index):
    return relay(objects)["volumeMounts"][index]


def metadata(objects, kind, end=None):
    return the(objects, kind, end)["metadata"]


def service(objects, end):
    return the(objects, "Service", end)["spec"]


def policy(objects):
    return the(objects, "NetworkPolicy")["spec"]


STRANGER = {"kind": "MutatingWebhookConfiguration", "apiVersion": "v1",
            "metadata": {"name": "audit-relay", "namespace": "flags"}}
ELSEWHERE = "http://flipt.flags.svc.cluster.local:8787"

SPOILINGS = [
    ("default", "not what was given", lambda o: the(o, "ConfigMap")["data"].update({"config.yaml": DEFAULT_CONFIG + "\n"})),
    ("map", "does not mean what", lambda o: the(o, "ConfigMap")["data"].update({"config.yaml": DEFAULT_CONFIG})),
    ("default", "a subPath", lambda o: mount(o, 0).update(subPath="a")),
    ("default", "flipt is read, and not mounted", lambda o: the(o, "Secret")["data"].pop("flipt")),
    ("default", "flipt is read, and not mounted", lambda o: relay(o)["volumeMounts"].pop()),
    ("everything", "hub is read, and not mounted", lambda o: volume(o, "secrets")["projected"]["sources"].clear()),
    ("everything", "the files are", lambda o: the(o, "ConfigMap", "-routes.d")["data"].clear()),
    ("default", "no configuration", lambda o: test(o)["volumes"][0]["configMap"].update(name="b")),
    ("default", "readinessProbe asks", lambda o: relay(o)["readinessProbe"]["httpGet"].update(port="intake-8787")),
    ("default", "livenessProbe asks", lambda o: relay(o)["livenessProbe"]["httpGet"].update(path="/readyz")),
    ("default", "probes are", lambda o: relay(o).pop("livenessProbe")),
    ("default", "enableServiceLinks", lambda o: pod(o).pop("enableServiceLinks")),
    ("default", "enableServiceLinks", lambda o: test(o).update(enableServiceLinks=True)),
    ("default", "a token is mounted", lambda o: pod(o).pop("automountServiceAccountToken")),
    ("default", "gives a token", lambda o: the(o, "ServiceAccount").update(automountServiceAccountToken=True)),
    ("default", "grace period is 10", lambda o: pod(o).update(terminationGracePeriodSeconds=10)),
    ("default", "not started by", lambda o: relay(o).update(args=["run"])),
    ("default", "changes with the chart",
     lambda o: the(o, "StatefulSet")["spec"]["template"]["metadata"]["labels"].update({"helm.sh/chart": "a"})),
    ("default", "volume of the journal is at", lambda o: mount(o, 0).update(mountPath="/a")),
    ("default", "not on the volume", lambda o: the(o, "StatefulSet")["spec"].pop("volumeClaimTemplates")),
    ("default", "Services have the ports", lambda o: service(o, "-health")["ports"][0].update(port=1)),
    ("default", "is no port of the pod", lambda o: service(o, "-health")["ports"][0].update(targetPort="metrics")),
    ("everything", "lets out at", lambda o: policy(o)["egress"][0]["ports"].pop()),
    ("everything", "lets in at", lambda o: policy(o)["ingress"].pop()),
    ("everything", "lets [] in at 9464", lambda o: policy(o)["ingress"][1].pop("from")),
    ("several", "PodDisruptionBudget", lambda o: o.remove(the(o, "PodDisruptionBudget"))),
    ("everything", "serviceMonitor: a ServiceMonitor", lambda o: o.remove(the(o, "ServiceMonitor"))),
    ("everything", "podMonitor: without its labels", lambda o: metadata(o, "PodMonitor")["labels"].pop("release")),
    ("everything", "serviceMonitor: in flags", lambda o: metadata(o, "ServiceMonitor").update(namespace="flags")),
    ("everything", "metrics is no port",
     lambda o: the(o, "PodMonitor")["spec"]["podMetricsEndpoints"][0].update(port="metrics")),
    ("default", "a kind that the chart does not make", lambda o: o.append(STRANGER)),
    ("default", "does not bear the name", lambda o: metadata(o, "ConfigMap").update(name="flipt")),
    ("default", "in the namespace", lambda o: metadata(o, "ConfigMap").update(namespace="b")),
    ("default", "is a hook at", lambda o: metadata(o, "Pod")["annotations"].update({"helm.sh/hook": "pre-install"})),
    ("default", "init containers", lambda o: pod(o).update(initContainers=pod(o)["containers"])),
    ("default", "the test goes through", lambda o: test(o)["containers"][0]["args"].__setitem__(2, "other")),
    ("everything", "the test trusts None", lambda o: [test(o)["containers"][0]["args"].remove(word)
                                                      for word in ("--ca", "/etc/audit-relay/tls/ca.crt")]),
    ("default", "which is no Service", lambda o: test(o)["containers"][0]["args"].__setitem__(4, ELSEWHERE)),
    ("default", "a test that is not asked for", lambda o: o.remove(the(o, "Pod"))),
    ("default", "shows a secret", lambda o: the(o, "ConfigMap")["data"].update(a=PLANTED)),
    ("default", "Kubernetes 1.35", lambda o: mount(o, 1).update(readonly=True)),
    ("default", "there is no Secret", lambda o: o.remove(the(o, "Secret"))),
    ("default", "may write to its root", lambda o: test(o)["containers"][0]["securityContext"].pop("readOnlyRootFilesystem")),
    ("default", "selects no pod", lambda o: service(o, "-health")["selector"].update(a="b")),
]
