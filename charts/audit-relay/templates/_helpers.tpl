{{/* The name of the chart, or what was given instead. */}}
{{- define "audit-relay.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{/*
The name of everything. 52 characters leave room for what the StatefulSet's controller adds in a label, and for `-headless`
in a name of DNS.
*/}}
{{- define "audit-relay.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "audit-relay.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Labels by which the pods are selected. They cannot change in the life of a release. */}}
{{- define "audit-relay.selectorLabels" -}}
app.kubernetes.io/name: {{ include "audit-relay.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of every object. */}}
{{- define "audit-relay.labels" -}}
{{- $own := include "audit-relay.selectorLabels" . | fromYaml -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- $_ := set $own "app.kubernetes.io/version" (.Values.image.tag | default .Chart.AppVersion | trunc 63) -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service -}}
{{- toYaml (merge $own .Values.commonLabels) -}}
{{- end -}}

{{/* Labels of what only resembles the relay's pods and must not be selected with them: the pod of `helm test`. */}}
{{- define "audit-relay.testLabels" -}}
{{- $own := include "audit-relay.labels" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/name" (printf "%s-test" (include "audit-relay.name" .)) -}}
{{- toYaml $own -}}
{{- end -}}

{{/* The image with its tag or digest. */}}
{{- define "audit-relay.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* The ServiceAccount of the pods. */}}
{{- define "audit-relay.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "audit-relay.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* Metadata of an object, from a dict with `context`, `name`, and perhaps `namespace`, `labels`, `annotations`. */}}
{{- define "audit-relay.metadata" -}}
name: {{ .name }}
namespace: {{ .namespace | default .context.Release.Namespace }}
labels:
  {{- toYaml (merge (dict) (.labels | default dict) (include "audit-relay.labels" .context | fromYaml)) | nindent 2 }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Volumes that configuration, secrets and whatever was added come from: those of the relay, and of its test. */}}
{{- define "audit-relay.volumes" -}}
- name: config
  configMap: {name: {{ include "audit-relay.fullname" . }}}
{{- range include "audit-relay.directories" . | fromJsonArray }}
- name: files-{{ . | replace "." "-" }}
  configMap: {name: {{ include "audit-relay.fullname" $ }}-{{ . }}}
{{- end }}
{{- if or .Values.secrets .Values.existingSecret }}
- name: secrets
  projected:
    defaultMode: 288 # 0440: fsGroup lets the relay's user read
    sources:
      {{- with .Values.existingSecret }}
      - secret: {name: {{ . | quote }}}
      {{- end }}
      {{- if .Values.secrets }}
      - secret: {name: {{ include "audit-relay.fullname" . }}}
      {{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Where they are mounted. Whole directories, never a subPath: what is mounted by subPath never changes again. */}}
{{- define "audit-relay.volumeMounts" -}}
- {name: config, mountPath: /etc/audit-relay, readOnly: true}
{{- range include "audit-relay.directories" . | fromJsonArray }}
- {name: files-{{ . | replace "." "-" }}, mountPath: /etc/audit-relay/{{ . }}, readOnly: true}
{{- end }}
{{- if or .Values.secrets .Values.existingSecret }}
- {name: secrets, mountPath: /etc/audit-relay/secrets, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The directories of the value `files`, as a list in JSON. */}}
{{- define "audit-relay.directories" -}}
{{- $found := list -}}
{{- range $path, $_ := .Values.files -}}
{{- if contains "/" $path }}{{ $found = append $found (dir $path) }}{{ end -}}
{{- end -}}
{{- $found | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/* DNS name of the Service that takes pushes. */}}
{{- define "audit-relay.host" -}}
{{- include "audit-relay.fullname" . }}.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain -}}
{{- end -}}
