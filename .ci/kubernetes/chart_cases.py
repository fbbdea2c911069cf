"""What the chart is given in .ci/kubernetes/chart.py: values that must render, and values that must not, with what the
refusal must say. Secrets in them hold PLANTED, which must show in no object but a Secret.
"""

PLANTED = "planted-5f0c"
FLIPT = f"secrets: {{flipt: {PLANTED}}}\n"

# A hub with everything that leads somewhere: TLS, several sources, a status page, further files, addresses with ports.
HUB = r"""
# The hub of two Flipts.
name: audit-hub
environments: {staging: [staging], production: [production, "prod-*"]}
include: routes.d/*.yaml
flipt: {instance: flipt, url: "http://flipt.flags:8080", external_url: https://flipt.example.com}
sources:
  fleet:
    type: http
    listen: 0.0.0.0:8787
    signing:
      - scheme: standard_webhooks
        secrets: [{file: /etc/audit-relay/secrets/hub}, {file: /etc/audit-relay/secrets/hub-old}]
    tls: {cert: /etc/audit-relay/tls/tls.crt, key: /etc/audit-relay/tls/tls.key}
  other_flipt:
    type: http
    listen: "[::]:8788"
    instance: other
    signing: {scheme: flipt, secrets: [{env: OTHER}]}
destinations:
  slack: {type: slack, webhook_url: {file: /etc/audit-relay/secrets/slack}}
  siem:
    type: webhook
    url: https://audit.example.com:8443/flipt
    proxy: http://proxy.example.com:3128
    headers: {X-Token: {file: /etc/audit-relay/secrets/siem}, X-Source: flipt}
    tls: {ca: /etc/audit-relay/ca/siem.pem}
  archive: {type: file, path: "/var/lib/audit-relay/archive/%Y-%m-%d.ndjson"}
  collector: {type: otlp, endpoint: "http://collector.example.com:4318"}
links:
  - {title: Runbook, url: "https://wiki.example.com/{{ team }}?q=1"}
admin: {listen: ":9465", token: {file: /etc/audit-relay/secrets/admin}}
telemetry: {shutdown_timeout: 2500ms, attributes: {env: production}}
shutdown_timeout: 1m 30s
shutdown_keep_reading: 7s
problems: {to: slack}
routes:
  everything: {to: [slack, siem, archive, collector]}
"""

HUB_VALUES = r"""
existingSecret: hub-secrets
config: |
""" + "".join(f"  {line}\n" if line else "\n" for line in HUB.splitlines()) + rf"""
files:
  routes.d/payments.yaml: |
    routes:
      payments: {{when: {{teams: payments}}, to: [siem]}}
    owners:
      - {{flags: "pay-*", team: payments}}
  ca/siem.pem: |
    not a certificate, and never read here
extraEnv:
  - name: OTHER
    valueFrom: {{secretKeyRef: {{name: other, key: other}}}}
  - {{name: OTEL_EXPORTER_OTLP_ENDPOINT, value: "https://otel.example.com:4317"}}
extraVolumes: [{{name: tls, secret: {{secretName: hub-tls}}}}]
extraVolumeMounts: [{{name: tls, mountPath: /etc/audit-relay/tls, readOnly: true}}]
"""

# Text that a careless template would change: indented first, tabs, ends of lines, blank lines, no end, braces, marks.
NASTY = "\n\n  # first\nname: \"naïve \\u2028 \\t{{ .Values.x }}\"   \nsources:\n  a: {type: http, signing: none}\r\n\n" \
        "destinations: {screen: {type: console}} # ⚑ <&> '\"\nroutes: {all: {to: [screen]}}\n\n\n"

EVERYTHING = HUB_VALUES + r"""
commonLabels: {team: platform}
test: {ca: /etc/audit-relay/tls/ca.crt}
podLabels: {colour: green}
podAnnotations: {a.example.com/b: "1"}
image: {repository: registry.example.com/audit-relay, tag: v1, pullPolicy: Always, pullSecrets: [{name: pull}]}
service:
  type: LoadBalancer
  annotations: {lb.example.com/internal: "true"}
  loadBalancerClass: example.com/lb
  loadBalancerSourceRanges: [10.0.0.0/8]
healthService: {annotations: {a: b}}
adminService: {annotations: {a: b}}
serviceAccount: {name: audit, annotations: {a: b}}
persistence:
  size: 20Gi
  storageClass: fast
  accessModes: [ReadWriteOncePod]
  retention: {whenDeleted: Delete, whenScaled: Retain}
terminationGracePeriodSeconds: 200
updateStrategy: {type: OnDelete}
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{key: a, operator: Exists, effect: NoSchedule}]
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]
topologySpreadConstraints: [{maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: ScheduleAnyway}]
priorityClassName: high
extraEnvFrom: [{secretRef: {name: more}}]
networkPolicy:
  enabled: true
  ingress:
    intakeFrom: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: flags}}}]
    healthFrom: [{podSelector: {matchLabels: {app: prometheus}}}]
    adminFrom: [{ipBlock: {cidr: 10.0.0.0/8}}]
  egress: {ports: [8200]}
serviceMonitor:
  enabled: true
  namespace: monitoring
  labels: {release: prometheus}
  annotations: {a: b}
  interval: 30s
  scrapeTimeout: 10s
  relabelings: [{targetLabel: a, replacement: b}]
  metricRelabelings: [{action: drop, sourceLabels: [__name__], regex: x}]
podMonitor: {enabled: true, interval: 15s, labels: {release: prometheus}}
prometheusRule: {enabled: true, labels: {release: prometheus}, annotations: {a: b}}
dashboard: {enabled: true, annotations: {a: b}}
"""

SEVERAL = FLIPT + r"""
replicas: 3
acceptSeparateJournals: true
config: |
  name: {env: HOSTNAME}
  sources:
    flipt: {type: http, signing: {scheme: flipt, secrets: [{file: /etc/audit-relay/secrets/flipt}]}}
  destinations: {screen: {type: console}}
  routes: {everything: {to: [screen]}}
"""

BEARER = rf"""
secrets: {{token: {PLANTED}}}
config: |
  sources: {{flipt: {{type: http, listen: ":9000", bearer: {{file: /etc/audit-relay/secrets/token}}}}}}
  destinations: {{screen: {{type: console}}}}
  routes: {{everything: {{to: [screen]}}}}
"""

# Values by the name of the case.
GOOD = {
    "default": FLIPT,
    "existing-secret": "existingSecret: mine\n",
    "both-secrets": FLIPT + "existingSecret: mine\n",
    "hub": HUB_VALUES,
    "everything": EVERYTHING,
    "several": SEVERAL,
    "several-without-budget": SEVERAL + "podDisruptionBudget: {enabled: false}\n",
    "several-closed": SEVERAL + "networkPolicy: {enabled: true}\npodDisruptionBudget: {maxUnavailable: 50%}\n",
    "bearer": BEARER,
    "signature-and-bearer": f"secrets: {{flipt: {PLANTED}, token: {PLANTED}}}\n" + r"""
config: |
  sources:
    flipt:
      type: http
      signing:
        - {scheme: github, secrets: {file: /etc/audit-relay/secrets/flipt}}
        - {scheme: flipt, secrets: {file: /etc/audit-relay/secrets/flipt}}
      bearer: {file: /etc/audit-relay/secrets/token}
""",
    "open": "config: |\n  sources: {flipt: {type: http, signing: none}}\n",
    "map": FLIPT + r"""
config:
  sources: {flipt: {type: http, signing: {scheme: flipt, secrets: [{file: /etc/audit-relay/secrets/flipt}]}}}
  destinations: {screen: {type: console, reject_limit: 10000}}
  telemetry: {sampling_ratio: 0.25}
  routes: {everything: {to: [screen]}}
  tests: [{event: {type: flag, action: updated, payload: {count: 1000000, large: 9007199254740991}}, to: [screen]}]
""",
    "file-source": r"""
persistence: {existingClaim: logs-journal}
extraVolumes: [{name: logs, persistentVolumeClaim: {claimName: logs}}]
extraVolumeMounts: [{name: logs, mountPath: /var/log/flipt, readOnly: true}]
config: |
  data_dir: /data/relay
  sources: {flipt: {type: file, path: [/var/log/flipt/audit.log, "/var/log/flipt/*.json"]}}
  destinations: {archive: {type: file, path: "/data/relay/archive/%Y.ndjson"}}
  routes: {everything: {to: [archive]}}
""",
    "mutual-tls": r"""
existingSecret: mine
config: |
  sources:
    fleet:
      type: http
      tls: {cert: /etc/audit-relay/secrets/crt, key: /etc/audit-relay/secrets/key, ca: /etc/audit-relay/secrets/ca}
      signing: none
""",
    "emptydir": FLIPT + "persistence: {enabled: false, size: 4Gi}\n",
    "no-class": FLIPT + "persistence: {storageClass: '-'}\n",
    "node-port": FLIPT + "service: {type: NodePort}\n",
    "digest": FLIPT + "image: {digest: 'sha256:" + "a" * 64 + "'}\n",
    "own-account": FLIPT + "serviceAccount: {create: false, name: mine}\n",
    "default-account": FLIPT + "serviceAccount: {create: false}\n",
    "named": FLIPT + "fullnameOverride: relay\n",
    "renamed": FLIPT + "nameOverride: audit\n",
    "long-name": FLIPT + "fullnameOverride: " + "n" * 63 + "\n",
    "network-policy": FLIPT + "networkPolicy: {enabled: true}\n",
    "addresses-without-ports": r"""
networkPolicy: {enabled: true}
config: |
  sources: {a: {type: http, signing: none}}
  destinations: {siem: {type: webhook, url: http://audit.example.com/flipt}}
  routes: {everything: {to: [siem]}}
""",
    "service-monitor": FLIPT + "serviceMonitor: {enabled: true}\n",
    "pod-monitor": FLIPT + "podMonitor: {enabled: true, namespace: monitoring}\n",
    "prometheus-rule": FLIPT + "prometheusRule: {enabled: true, namespace: monitoring}\n",
    "dashboard": FLIPT + "dashboard: {enabled: true, namespace: monitoring}\n",
    "no-test": FLIPT + "test: {enabled: false}\n",
    "no-probes": FLIPT + "probes: {liveness: null, readiness: null}\n",
    "other-probes": FLIPT + "probes: {liveness: {periodSeconds: 30, initialDelaySeconds: 5}}\n",
    "no-replica": FLIPT + "replicas: 0\n",
    "longer-grace": FLIPT + "terminationGracePeriodSeconds: 11\n",
    "part-of-another": FLIPT + "global: {a: b}\n",
    "any-user": FLIPT + "podSecurityContext: {runAsUser: null, runAsGroup: null, fsGroup: null}\n",
    "more-resources": FLIPT + "resources: {limits: {cpu: 2, memory: 1Gi}}\n",
    "nulls": FLIPT + "nodeSelector: null\ntolerations: null\nextraEnv: null\nextraVolumes: null\nextraVolumeMounts: null\n"
             "podAnnotations: null\naffinity: null\nconfig: null\n",
    "spread-by-own-selector": FLIPT + "topologySpreadConstraints: [{maxSkew: 1, topologyKey: a, "
                              "whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {a: b}}}]\n",
}
# What others bring into the namespace.
ELSEWHERE = {f"Secret/{name}" for name in ("audit-relay-secrets", "audit-hub-secrets", "audit-hub-tls", "mine", "hub-secrets",
                                           "other", "hub-tls", "more")} | {"ServiceAccount/mine"}


def source(text):
    """Values with a source `a` of these keys, and the rest of the configuration in its shortest form."""
    return f"config: |\n  sources: {{a: {{type: http, {text}}}}}\n"


OPEN = "  sources: {a: {type: http, signing: none}}\n"

# Values, and what both Helms must say of them.
BAD = {
    "a plain install": ("",
                        ["--set existingSecret=NAME", "--set-file secrets.flipt=FILE", "`sources.flipt.signing.secrets[0]`"]),
    "unknown key": (FLIPT + "replica: 2\n", ["replica"]),
    "unknown key below": (FLIPT + "image: {name: x}\n", ["name"]),
    "unknown key of a probe": (FLIPT + "probes: {liveness: {port: 1}}\n", ["port"]),
    "wrong type": (FLIPT + "replicas: many\n", ["replicas", "integer"]),
    "wrong type of config": (FLIPT + "config: [1]\n", ["config"]),
    "port 99999": (source("signing: none, listen: ':99999'"),
                   ["`sources.a.listen` must be an address with a port from 1 to 65535", ":99999"]),
    "port 0": (source("signing: none, listen: ':0'"), ["port from 1 to 65535"]),
    "port 99999 in values": (FLIPT + "networkPolicy: {egress: {ports: [99999]}}\n", ["65"]),
    "listen from elsewhere": (source("signing: none, listen: {env: HOSTNAME}"), ["written in place"]),
    "intake on loopback": (source("signing: none, listen: '127.0.0.1:8787'"),
                           ["which no other pod reaches: take `0.0.0.0:8787`"]),
    "health on loopback": ("config: |\n" + OPEN + "  health: {listen: '127.0.0.1:9464'}\n",
                           ["where the kubelet cannot ask"]),
    "health at 99999": ("config: |\n" + OPEN + "  health: {listen: ':99999'}\n", ["`health.listen`", "65535"]),
    "status page without token": ("config: |\n" + OPEN + "  admin: {listen: ':9465'}\n",
                                  ["there is no `admin.token`. Give it one"]),
    "one port twice": ("config: |\n" + OPEN + "  health: {listen: ':8787'}\n", ["two listeners have the same port"]),
    "missing secret": (FLIPT + source("bearer: {file: /etc/audit-relay/secrets/token}"),
                       ["`sources.a.bearer`", "--set-file secrets.token=FILE"]),
    "missing variable": (source("bearer: {env: TOKEN}"), ["`TOKEN`, which nothing sets: add it to extraEnv"]),
    "secret in the ConfigMap": ("files: {token: x}\n" + source("bearer: {file: /etc/audit-relay/token}"),
                                ["What is secret belongs below /etc/audit-relay/secrets"]),
    "nothing mounted": ("config: |\n  sources: {a: {type: file, path: /var/log/flipt/audit.log}}\n",
                        ["nothing is mounted: add extraVolumes and extraVolumeMounts"]),
    "no YAML": ("config: '{'\n", ["config is no YAML map", "audit-relay check"]),
    "a list": ("config: '[1]'\n", ["config is no YAML map"]),
    "two documents": ("config: |\n" + OPEN + "  ---\n  a: 1\n", ["second YAML document"]),
    "no sources": ("config: 'name: a'\n", ["config has no `sources`: say where records enter"]),
    "a name that is a boolean": ("config: |\n  sources: {y: {type: http, signing: none}}\n", ["put it into quotes"]),
    "order in a map": ("config:\n  environments: {b: [b], a: ['*']}\n" + OPEN, ["give `config` as a text"]),
    "data_dir from elsewhere": ("config: |\n" + OPEN + "  data_dir: {env: HOSTNAME}\n", ["write `data_dir` in place"]),
    "grace too short": (FLIPT + "terminationGracePeriodSeconds: 10\n",
                        ["may take 10 s", "leave it out, or take at least 11"]),
    "a year to shut down": ("config: |\n" + OPEN + "  shutdown_timeout: 1y\n", ["take `s` or `m`"]),
    "two replicas": (FLIPT + "replicas: 2\n",
                     ["each replica has a journal of its own", "set acceptSeparateJournals=true"]),
    "two replicas of one name": (FLIPT + "replicas: 2\nacceptSeparateJournals: true\n",
                                 ["write `name: {env: HOSTNAME}`"]),
    "two replicas of one claim": (SEVERAL + "persistence: {existingClaim: a}\n", ["each replica needs its own"]),
    "volume too small": (FLIPT + "persistence: {size: 1Gi}\n",
                         ["persistence.size is 1Gi", "take a larger volume, or a smaller journal.max_size"]),
    "emptyDir too small": (FLIPT + "persistence: {enabled: false, size: 1200Mi}\n", ["take a larger volume"]),
    "size without unit": (FLIPT + "persistence: {size: '5'}\n", ["size"]),
    "shared volume": (FLIPT + "persistence: {accessModes: [ReadWriteMany]}\n", ["accessModes"]),
    "subPath": (FLIPT + "extraVolumes: [{name: a, emptyDir: {}}]\nextraVolumeMounts: [{name: a, mountPath: /a, subPath: b}]\n",
                ["extraVolumeMounts"]),
    "volume of ours": (FLIPT + "extraVolumes: [{name: data, emptyDir: {}}]\n", ["extraVolumes"]),
    "port by variable": (FLIPT + "extraEnv: [{name: AUDIT_RELAY__HEALTH__LISTEN, value: ':1'}]\n",
                         ["belongs into `config`"]),
    "secret by variable": (FLIPT + f"extraEnv: [{{name: AUDIT_RELAY__ADMIN__TOKEN, value: {PLANTED}}}]\n",
                           ["take `valueFrom: {secretKeyRef"]),
    "proxy with a password": (FLIPT + f"extraEnv: [{{name: HTTPS_PROXY, value: 'http://me:{PLANTED}@proxy:3128'}}]\n",
                              ["HTTPS_PROXY holds a credential", "take `valueFrom: {secretKeyRef"]),
    "key for a collector": (FLIPT + f"extraEnv: [{{name: OTEL_EXPORTER_OTLP_HEADERS, value: 'dd-api-key={PLANTED}'}}]\n",
                            ["OTEL_EXPORTER_OTLP_HEADERS holds a credential"]),
    "empty secret": ("secrets: {flipt: ''}\n", ["secrets"]),
    "file outside": (FLIPT + "files: {../passwd: x}\n", ["../passwd", "pattern"]),
    "file in place of the configuration": (FLIPT + "files: {config.yaml: text}\n", ["it belongs into `config`"]),
    "file two directories deep": (FLIPT + "files: {a/b/c: text}\n", ["a/b/c"]),
    "file among the secrets": (FLIPT + "files: {secrets/a: text}\n", ["files: secrets/a", "value `secrets`"]),
    "included file": ("config: |\n" + OPEN + "  include: [routes.d/*.yaml, teams.yaml]\n",
                      ["`include` names teams.yaml", 'put its content into files."teams.yaml"']),
    "a section that is taken away": (FLIPT + "serviceAccount: null\n", ["serviceAccount"]),
    "a key that is taken away": (FLIPT + "networkPolicy: {egress: null}\n", ["egress"]),
    "short digest": (FLIPT + "image: {digest: 'sha256:12'}\n", ["digest"]),
}
