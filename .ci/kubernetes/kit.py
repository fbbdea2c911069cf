"""The sidecar kit, applied to a faithful sample of what Flipt's chart renders, in every way that docs/sidecar.md shows.

    eval "$(.ci/kubernetes/tools DIRECTORY)"
    $python -B .ci/kubernetes/kit.py --helm3 $helm3 --helm4 $helm4 --kubectl $kubectl --program target/debug/audit-relay

`--update` writes deploy/sidecar/flux/release.yaml anew, which holds the patches once more: Flux takes no components.
"""

import argparse
import copy
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import yaml

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(HERE / "kit")]

import checks  # noqa: E402
import manifests  # noqa: E402
import spoils  # noqa: E402

KIT = ROOT / "deploy/sidecar"
CHART = HERE / "kit/flipt"
DOCS = ROOT / "docs/sidecar.md"
RELEASE = KIT / "flux/release.yaml"
IMAGE = "registry.example.com/audit-relay:0.1.0"
HEADER = """\
# A HelmRelease of Flipt with the relay beside it (placement `native`). Its patches are those of ../pod and ../native,
# written by `.ci/kubernetes/kit.py --update`; the values and the image are yours.
"""

failures = []


def report(what, sentences):
    sentences = list(sentences)
    for sentence in sentences:
        print(f"{what}: {sentence}")
    failures.extend(sentences)
    if not sentences:
        print(f"{what}: as it should be")


def run(*command, stdin=None, environment=None, cwd=None):
    return subprocess.run(
        [str(part) for part in command], input=stdin, text=True, capture_output=True, cwd=cwd, timeout=100,
        env={**os.environ, **(environment or {})},
    )


def output(*command, **how):
    done = run(*command, **how)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


class Kit:
    def __init__(self, tools, place):
        self.tools, self.place = tools, place
        # Every path has a space in it: scripts have to bear that.
        self.copy = place / "a copy/audit-relay"
        shutil.copytree(KIT, self.copy)
        self.environment = {
            "HELM_DATA_HOME": str(place / "helm data"), "HELM_CACHE_HOME": str(place / "helm cache"),
            "HELM_CONFIG_HOME": str(place / "helm config"), "KUSTOMIZE": "", "TMPDIR": str(place / "tmp dir"),
            "PATH": f"{pathlib.Path(tools.kubectl).resolve().parent}:{os.environ['PATH']}",
        }
        (place / "tmp dir").mkdir()
        shown = output(tools.program, "check", "--show-defaults")
        self.defaults = yaml.safe_load(shown)
        self.samples = {
            (helm, sample): self.template(helm, sample) for helm in ("helm3", "helm4") for sample in ("plain", "full")
        }

    def template(self, helm, sample, *arguments):
        return output(
            getattr(self.tools, helm), "template", "flipt", CHART, "--namespace", "flipt", "--set", f"sample={sample}",
            *arguments, environment=self.environment,
        )

    def kustomize(self, directory, *arguments):
        return manifests.documents(output(
            self.tools.kubectl, "kustomize", directory, *arguments, environment=self.environment,
        ))

    def overlay(self, name, rendered, kustomization, files=()):
        """Builds a directory that has the rendered chart, beside the copy of the kit."""
        directory = self.place / "a copy" / name
        directory.mkdir(parents=True)
        (directory / "flipt.yaml").write_text(rendered)
        for file, text in files:
            (directory / file).write_text(text)
        (directory / "kustomization.yaml").write_text(yaml.safe_dump({"namespace": "flipt", **kustomization}))
        return self.kustomize(directory)

    def before(self, helm="helm3", sample="plain"):
        return manifests.documents(self.samples[helm, sample])

    def judge(self, what, after, placement="native", helm="helm3", sample="plain"):
        report(what, checks.wrong(self.before(helm, sample), after, placement, self.defaults))
        report(f"{what}, its configuration", self.refused(after))

    def refused(self, objects):
        """What `audit-relay check` says against the configuration that the pod has."""
        relay = checks.relay_of(objects)
        environment = {
            variable["name"]: variable.get("value", "flipt-6d5c9b7f4-abcde") for variable in relay["env"]
            if variable["name"].startswith("AUDIT_RELAY__")
        }
        text = next(document for document in manifests.of_kind(objects, "ConfigMap")
                    if document["metadata"]["name"] == "flipt-audit-relay")["data"]["config.yaml"]
        file = self.place / "config.yaml"
        file.write_text(text)
        done = run(self.tools.program, "check", "--no-environment", "--config", file, environment=environment)
        if done.returncode or "warning" in done.stdout + done.stderr:
            yield f"audit-relay check: {done.stdout}{done.stderr}"
        path = yaml.safe_load(text)["sources"]["flipt"]["path"]
        if path != checks.LOG:
            yield f"the relay reads {path}, and Flipt writes {checks.LOG}"
        for secret in re.findall(r"file: *([^\s}\]]+)", text):
            if not secret.startswith("/etc/audit-relay/secrets/"):
                yield f"{secret} is not where the Secret is mounted"


def components(kit):
    parts = {
        "default": ("native", ["../audit-relay"]),
        "native, direct": ("native", ["../audit-relay/native", "../audit-relay/direct"]),
        "container, forwarder": ("container", ["../audit-relay/container", "../audit-relay/forwarder"]),
        "container, direct": ("container", ["../audit-relay/container", "../audit-relay/direct"]),
    }
    made = {}
    for sample in ("plain", "full"):
        for name, (placement, used) in parts.items():
            overlay = {"resources": ["flipt.yaml"], "components": used}
            after = kit.overlay(f"{name} {sample}", kit.samples["helm3", sample], overlay)
            kit.judge(f"component, {name}, {sample}", after, placement, sample=sample)
            made[name, sample] = after
    return made


def statefulset(kit):
    """Somebody's own manifests may well have a StatefulSet."""
    objects = kit.before()
    flipt = checks.workload(objects)
    flipt["kind"] = "StatefulSet"
    flipt["spec"]["serviceName"] = "flipt"
    rendered = yaml.safe_dump_all(objects)
    after = kit.overlay("stateful", rendered, {"resources": ["flipt.yaml"], "components": ["../audit-relay"]})
    report("component, StatefulSet", checks.wrong(objects, after, "native", kit.defaults))


def older(made):
    """A cluster that has no native sidecars refuses the field; a plain container it takes."""
    if not list(manifests.invalid(made["default", "plain"], "1.27")):
        report("Kubernetes 1.27", ["takes a native sidecar: validation sees nothing"])


def routes(kit, made):
    """A changed route is a changed ConfigMap and nothing else."""
    config = (KIT / "direct/config.yaml").read_text() + "  denied: {when: {statuses: [denied]}, to: [slack]}\n"
    after = kit.overlay("changed", kit.samples["helm3", "plain"], {
        "resources": ["flipt.yaml"], "components": ["../audit-relay/native"],
        "configMapGenerator": [
            {"name": "flipt-audit-relay", "files": ["config.yaml"], "options": {"disableNameSuffixHash": True}},
        ],
    }, [("config.yaml", config)])
    kit.judge("a changed route", after)
    before = made["native, direct", "plain"]
    titles = [manifests.title(old) for old in before for new in after
              if manifests.title(old) == manifests.title(new) and old != new]
    report("what a changed route changes", [] if titles == ["ConfigMap/flipt-audit-relay"] else [f"{titles}"])


def twins(made):
    """Both placements run the same container."""
    native, plain = (checks.shape(copy.deepcopy(checks.relay_of(made[name, "plain"])))
                     for name in ("default", "container, forwarder"))
    native.pop("restartPolicy")
    plain["env"].pop("AUDIT_RELAY__SHUTDOWN_KEEP_READING")
    report("native and container", checks.differences(native, plain))


def left(kit):
    place = kit.place / "tmp dir"
    return [f"the script leaves {entry.name}" for entry in place.iterdir()]


def helm(kit):
    renderers = {"helm3": str(kit.copy / "post-renderer"), "helm4": "audit-relay-sidecar"}
    output(kit.tools.helm4, "plugin", "install", kit.copy, environment=kit.environment)
    config = kit.copy / "direct/config.yaml"
    for major, renderer in renderers.items():
        for sample in ("plain", "full"):
            for placement in ("native", "container"):
                given = [f"--placement={placement}", f"--image={IMAGE}", f"--config={config}"]
                arguments = ["--post-renderer", renderer]
                arguments += [f"--post-renderer-args={argument}" for argument in given]
                rendered = manifests.documents(kit.template(major, sample, *arguments))
                kit.judge(f"{major}, {placement}, {sample}", rendered, placement, major, sample)
                image = checks.relay_of(rendered)["image"]
                report(f"{major}, its image", [] if image == IMAGE else [image])
        done = run(
            getattr(kit.tools, major), "template", "flipt", CHART, "--post-renderer", renderer,
            "--post-renderer-args=--placement=elsewhere", environment=kit.environment,
        )
        report(f"{major}, wrong arguments", [] if done.returncode and not done.stdout else ["are taken"])
    report("what Helm leaves", left(kit))


def script(kit):
    """It fails rather than leaving the relay out."""
    plain = kit.samples["helm3", "plain"]
    renamed = plain.replace("app.kubernetes.io/name: flipt", "app.kubernetes.io/name: flags")
    hooks = "".join(f"---\n{part}" for part in plain.split("---\n") if "helm.sh/hook" in part)
    cases = [
        ("nothing", "", (), {}, "nothing rendered"),
        ("another label", renamed, (), {}, "app.kubernetes.io/name"),
        ("no such configuration", plain, ("--config=/nowhere",), {}, "/nowhere"),
        ("no such patch", plain, ("--patch=/nowhere",), {}, "/nowhere"),
        ("an unknown argument", plain, ("--placment=native",), {}, "--placment"),
        ("a kustomize that fails", plain, (), {"KUSTOMIZE": "false"}, "kustomize"),
        ("a kustomize that does nothing", plain, (), {"KUSTOMIZE": "true"}, "label"),
        ("no YAML", "kind: Deployment\n\t{", (), {}, "kustomize"),
    ]
    for what, stdin, arguments, environment, told in cases:
        done = run(
            kit.copy / "post-renderer", *arguments, stdin=stdin, environment={**kit.environment, **environment},
        )
        good = done.returncode != 0 and not done.stdout and told in done.stderr
        report(f"script, {what}", [] if good else [f"{done.returncode} {done.stdout} {done.stderr}"])
    done = run(kit.copy / "post-renderer", stdin=hooks, environment=kit.environment)
    report("script, hooks alone", [] if hooks and done.stdout == hooks else [f"are not passed on: {done.stderr}"])
    for given, image in [
        ("registry.example.com:5000/a/relay", "registry.example.com:5000/a/relay:0.1.0"),
        ("relay:1.2.3", "relay:1.2.3"),
        ("registry.example.com:5000/relay@sha256:" + "a" * 64, "registry.example.com:5000/relay@sha256:" + "a" * 64),
        ("relay:1.2@sha256:" + "b" * 64, "relay@sha256:" + "b" * 64),
    ]:
        done = output(kit.copy / "post-renderer", f"--image={given}", stdin=plain, environment=kit.environment)
        made = checks.relay_of(manifests.documents(done))["image"]
        report(f"script, --image={given}", [] if made == image else [made])
    report("what the script leaves", left(kit))


def versions(kit):
    """The image and the plugin are of the release that they lie beside, and its program knows what the pod asks of it."""
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]
    texts = [*KIT.rglob("*.yaml"), KIT / "post-renderer", DOCS]
    tags = {(path.name, tag) for path in texts
            for tag in re.findall(r"(?:audit-relay:|newTag: |^version: )([0-9]+\.[\w.-]+)", path.read_text(), re.M)}
    report("versions", [f"{path} names {tag}" for path, tag in tags if tag != version] or ([] if tags else ["none"]))
    done = run(kit.tools.program, "run", "--sidecar", "--help")
    report("the program", [done.stderr] if done.returncode else [])


def release():
    """deploy/sidecar/flux/release.yaml, from the components."""
    def text(value, indent):
        return "".join(f"{' ' * indent}{line}\n" if line else "\n" for line in value.splitlines())

    patches = ""
    for part in ("pod", "native"):
        for patch in yaml.safe_load((KIT / part / "kustomization.yaml").read_text())["patches"]:
            patches += " " * 10 + "- target:\n"
            patches += text(yaml.safe_dump(patch["target"]), 14)
            patches += " " * 12 + "patch: |\n" + text((KIT / part / patch["path"]).read_text(), 14)
    return HEADER + """\
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
metadata:
  name: flipt
spec:
  interval: 1h
  url: https://helm.flipt.io
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata:
  name: flipt
spec:
  interval: 10m
  chart:
    spec:
      chart: flipt
      version: 0.87.6
      sourceRef:
        kind: HelmRepository
        name: flipt
  values:
    image:
      tag: v1.61.0 # v1.61.1 emits no audit events for changes by REST unless tracing is on
  postRenderers:
    - kustomize:
        images:
          - name: audit-relay
            newName: registry.example.com/audit-relay
            newTag: 0.1.0
        patches:
""" + patches


def flux(kit):
    """Flux hands `patches` and `images` of a HelmRelease to kustomize, so kustomize it is here."""
    report("flux/release.yaml", [] if RELEASE.read_text() == release() else ["differs: kit.py --update writes it"])
    objects = kit.kustomize(kit.copy / "flux")
    kinds = sorted(document["kind"] for document in objects)
    report("flux", [] if kinds == ["ConfigMap", "HelmRelease", "HelmRepository"] else [f"{kinds}"])
    found = manifests.of_kind(objects, "HelmRelease")[0]
    [renderer] = found["spec"]["postRenderers"]
    after = kit.overlay("flux", kit.samples["helm3", "plain"], {"resources": ["flipt.yaml"], **renderer["kustomize"]})
    kit.judge("Flux", after + manifests.of_kind(objects, "ConfigMap"))


def recipes(kit, made):
    """What docs/sidecar.md tells to write and to type."""
    place = kit.place / "a copy"
    files = {}
    for block in re.findall(r"```yml\n(.*?)```", DOCS.read_text(), re.S):
        name = re.match(r"# (\S+)\n", block)
        assert name, f"docs/sidecar.md: a block does not say what it is called: {block[:60]}"
        files[name[1]] = block
    for name, block in files.items():
        (place / "recipes" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "recipes" / name).write_text(block)
    place = place / "recipes"
    shutil.copytree(KIT, place / "audit-relay")
    for name in ("plain", "own"):
        (place / name / "flipt.yaml").write_text(kit.samples["helm3", "plain"])
    (place / "own/config.yaml").write_text((KIT / "direct/config.yaml").read_text())
    for name in ("plain", "own"):
        kit.judge(f"recipe, {name}", kit.kustomize(place / name))
    # kustomize takes a chart that is there already, under its name and version.
    application = yaml.safe_load(files["application.yaml"])
    directory = place / application["spec"]["source"]["path"]
    for version in ("charts/flipt", "charts/flipt-0.87.6/flipt"):
        shutil.copytree(CHART, directory / "chart" / version)
    # kustomize 5.7 speaks to Helm 3 alone (`helm version -c`).
    kit.judge("recipe, Argo CD", kit.kustomize(directory, "--enable-helm", "--helm-command", kit.tools.helm3))
    path = yaml.safe_load(files["flux.yaml"])["spec"]["path"]
    report("recipe, Flux", [] if kit.kustomize(place / path) else ["nothing"])
    commands = re.findall(r"^helm .*$", DOCS.read_text().replace("\\\n", ""), re.M)
    typed = 0
    for command in commands:
        words = command.split()[1:]
        major = "helm4" if "plugin" in words or "audit-relay-sidecar" in words else "helm3"
        if words[:2] == ["plugin", "install"]:
            output(kit.tools.helm4, "plugin", "uninstall", "audit-relay-sidecar", environment=kit.environment)
            output(kit.tools.helm4, *words, environment=kit.environment, cwd=place)
            continue
        words = ["template", *(str(CHART) if word == "flipt/flipt" else word for word in words[2:])]
        rendered = output(getattr(kit.tools, major), *words, environment=kit.environment, cwd=place)
        kit.judge(f"recipe, {command[:30]}…, {major}", manifests.documents(rendered), helm=major)
        typed += 1
    report("recipes, Helm", [] if typed == 2 else [f"{typed} commands were found"])
    monitor = yaml.safe_load(files["podmonitor.yaml"])
    known = set(manifests.dangling(made["default", "plain"], checks.ELSEWHERE))
    found = set(manifests.dangling([*made["default", "plain"], monitor], checks.ELSEWHERE)) - known
    report("recipe, PodMonitor", found)
    patched(kit, place)


def patched(kit, place):
    """The further patches change what they say and nothing else."""
    expected = {
        "claim.yaml": {"name: the relay's is not that of the pod"},
        # As Flipt's own user the relay may write what it is given to write.
        "writing.yaml": set(),
    }
    for patch, sentences in expected.items():
        arguments = [f"--patch={place / patch}"]
        rendered = output(kit.copy / "post-renderer", *arguments, stdin=kit.samples["helm3", "plain"],
                          environment=kit.environment)
        after = manifests.documents(rendered)
        found = {sentence for sentence in checks.wrong(kit.before(), after, "native", kit.defaults)
                 if not sentence.startswith("Deployment/flipt: /spec/strategy is new")}
        report(f"recipe, {patch}", found ^ sentences)
        pod, relay = checks.pod_of(after), checks.relay_of(after)
        if patch == "claim.yaml":
            volume = checks.by_name(pod["volumes"])["audit-relay-log"]
            good = volume == {"name": "audit-relay-log", "persistentVolumeClaim": {"claimName": "flipt-audit"}}
            good &= checks.workload(after)["spec"]["strategy"]["type"] == "Recreate"
        else:
            log = checks.by_name(relay["volumeMounts"])["audit-relay-log"]
            good = relay["securityContext"]["runAsUser"] == 100 and log["readOnly"] is False
        report(f"recipe, {patch}, what it does", [] if good else ["not what it says"])


def spoiled(kit, made):
    """Each check sees what it is for."""
    for placement, name in (("native", "default"), ("container", "container, forwarder")):
        for what, told, spoil in spoils.of(placement):
            after = copy.deepcopy(made[name, "plain"])
            spoil(after)
            found = list(checks.wrong(kit.before(), after, placement, kit.defaults))
            if not any(told in sentence for sentence in found):
                report(f"spoiled, {placement}", [f"{what} is not seen; found: {found}"])
    broken = copy.deepcopy(made["default", "plain"])
    spoils.config(broken)["config.yaml"] = "sources: {flipt: {type: fil}}\n"
    try:
        seen = list(kit.refused(broken))
    except KeyError:
        seen = ["it has no path"]
    report("spoiled, the configuration", [] if seen else ["is not seen"])
    print(f"spoiled on purpose: {len(spoils.of('native')) + len(spoils.of('container'))} ways")


def main():
    parser = argparse.ArgumentParser()
    for tool in ("helm3", "helm4", "kubectl", "program"):
        parser.add_argument(f"--{tool}")
    parser.add_argument("--update", action="store_true")
    tools = parser.parse_args()
    if tools.update:
        RELEASE.write_text(release())
        return
    for tool in ("helm3", "helm4", "kubectl", "program"):
        value = getattr(tools, tool)
        if not value:
            parser.error(f"--{tool} is missing")
        setattr(tools, tool, pathlib.Path(value).resolve())
    with tempfile.TemporaryDirectory() as place:
        kit = Kit(tools, pathlib.Path(place))
        made = components(kit)
        statefulset(kit)
        older(made)
        twins(made)
        versions(kit)
        routes(kit, made)
        helm(kit)
        script(kit)
        flux(kit)
        recipes(kit, made)
        spoiled(kit, made)
    if failures:
        sys.exit(f"{len(failures)} wrong")


if __name__ == "__main__":
    main()
