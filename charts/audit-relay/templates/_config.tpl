{{/*
What the chart reads from the relay's own configuration. `audit-relay.facts` gives it as JSON:

  sources   those of type http: name, port, portName, tls, mutual (TLS with certificates of clients), open, bearer, and
            schemes: {name: reference} with the first secret of each, as `file NAME` or `env NAME`
  health, admin   {port} of the listeners; admin has no port where it listens on loopback
  ports     name and number of each container port
  dataDir   where the journal is
  outside   ports of the addresses in the configuration
  secrets   names of the files that are read below /etc/audit-relay/secrets
  grace     seconds that a shutdown may take
  deaf      seconds of it in which no pushes are taken
  restart   what a running relay cannot change

What could not work in the cluster fails here, with what to do. What is wrong in itself is told by `audit-relay check`.
*/}}

{{/* The text of the configuration, as it was given. */}}
{{- define "audit-relay.text" -}}
{{- if not .Values.config }}{{ .Files.Get "files/config.yaml" }}
{{- else if kindIs "string" .Values.config }}{{ .Values.config }}
{{- else }}{{ toYaml .Values.config }}{{ "\n" }}
{{- end -}}
{{- end -}}

{{/* A duration as milliseconds, rounded up; a dict with `text` and `key`. */}}
{{- define "audit-relay.milliseconds" -}}
{{- if not (kindIs "string" .text) }}{{ fail (printf "config: write `%s` in place, such as `20s`: the chart computes the grace period of the pod from it" .key) }}{{ end -}}
{{- if not (regexMatch "^\\s*[0-9]+\\s*[a-zA-Zµ]+(\\s*[0-9]+\\s*[a-zA-Zµ]+)*\\s*$" .text) }}{{ fail (printf "config: `%s` is not a duration such as `20s`: %s" .key .text) }}{{ end -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+\\s*[a-zA-Zµ]+" (.text | default "" | toString) -1 -}}
{{- $number := regexFind "^[0-9]+" . | int64 -}}
{{- $unit := regexFind "[a-zA-Zµ]+$" . -}}
{{- $factor := 0 -}}
{{- if has $unit (list "ms" "msec") }}{{ $factor = 1 }}
{{- else if has $unit (list "s" "sec" "secs" "second" "seconds") }}{{ $factor = 1000 }}
{{- else if has $unit (list "m" "min" "mins" "minute" "minutes") }}{{ $factor = 60000 }}
{{- else if has $unit (list "h" "hr" "hrs" "hour" "hours") }}{{ $factor = 3600000 }}
{{- else if has $unit (list "d" "day" "days") }}{{ $factor = 86400000 }}
{{- else if has $unit (list "ns" "nsec" "us" "µs" "usec") }}{{ $number = 1 }}{{ $factor = 1 }}
{{- else }}{{ fail (printf "config: the unit `%s` of `%s` is not one that a pod waits for: take `s` or `m`" $unit $.key) }}
{{- end -}}
{{- $sum = add $sum (mul $number $factor) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}

{{/* The port of an address to listen on; a dict with `address` and `key`. */}}
{{- define "audit-relay.port" -}}
{{- $text := toString .address -}}
{{- $port := regexFind "[0-9]+$" $text | int64 -}}
{{- if or (kindIs "map" .address) (not (regexMatch "^([0-9.]*|\\[[0-9a-fA-F:.]+\\]):[0-9]{1,5}$" $text)) (lt $port 1) (gt $port 65535) }}{{ fail (printf "config: `%s` must be an address with a port from 1 to 65535, written in place, such as `0.0.0.0:8787`: the chart makes container ports and Services of it. It is: %s" .key (toJson .address)) }}{{ end -}}
{{- $port -}}
{{- end -}}

{{/* `true` where an address to listen on is reached from this pod alone. */}}
{{- define "audit-relay.loopback" -}}
{{- if regexMatch "^(127\\.|\\[::1\\])" (toString .) }}true{{ end -}}
{{- end -}}

{{/* Bytes of `1GiB` (the relay's way) and `2Gi` (that of Kubernetes); nothing, where it is neither. */}}
{{- define "audit-relay.bytes" -}}
{{- $text := toString . | nospace -}}
{{- if regexMatch "^[0-9]+([kKmMgGtTpP][iI]?)?[bB]?$" $text -}}
{{- $letter := regexFind "[kKmMgGtTpP]" $text | lower -}}
{{- $base := ternary 1024 1000 (regexMatch "[iI]" $text) -}}
{{- $bytes := regexFind "^[0-9]+" $text | int64 -}}
{{- range until (get (dict "k" 1 "m" 2 "g" 3 "t" 4 "p" 5) $letter | default 0 | int) }}{{ $bytes = mul $bytes $base }}{{ end -}}
{{- $bytes -}}
{{- end -}}
{{- end -}}

{{/*
Walks over a part of the configuration and prints a line for each find, its parts parted by tabs: `literal`, where a secret
stands in place; `file`, `env`, where something is read from; `path`, what is read or written by its path; `url`, an
address. A dict with `value`, `path`, `key` (that the value stands under), and `free` where the keys of a map are
names that people choose. What counts as secret is what `audit-relay check` refuses: .ci/kubernetes/chart.py compares.
*/}}
{{- define "audit-relay.walk" -}}
{{- $at := . -}}
{{- if kindIs "map" .value -}}
{{- $only := "" -}}{{- range $name, $_ := .value }}{{ $only = $name }}{{ end -}}
{{- if and (not .free) (eq (len .value) 1) (has $only (list "file" "env")) (kindIs "string" (get .value $only)) -}}
{{- printf "%s\t%s\t%s\n" $only .path (get .value $only) -}}
{{- else -}}
{{- range $name, $value := .value -}}
{{- $key := $name -}}
{{- if $at.free -}}
{{- $key = ternary "bearer" "" (and (eq $at.key "headers") (regexMatch "(?i)authorization|cookie|token|secret|password|api-key|apikey" $name)) -}}
{{- end -}}
{{- $free := and (not $at.free) (has $name (list "headers" "attributes" "env")) -}}
{{- include "audit-relay.walk" (dict "value" $value "path" (printf "%s.%s" $at.path $name) "key" $key "free" $free) -}}
{{- end -}}
{{- end -}}
{{- else if kindIs "slice" .value -}}
{{- range $index, $value := .value -}}
{{- include "audit-relay.walk" (dict "value" $value "path" (printf "%s[%d]" $at.path $index) "key" $at.key "free" false) -}}
{{- end -}}
{{- else if not (kindIs "invalid" .value) -}}
{{- $text := toString .value -}}
{{- if has .key (list "token" "bearer" "password" "secrets" "api_key" "app_key" "webhook_url") -}}
{{- printf "literal\t%s\t-\n" .path -}}
{{- else if has .key (list "url" "proxy" "endpoint" "external_url") -}}
{{- $address := regexMatch "(?i)^\\s*https?:" $text -}}
{{- if or (regexMatch "^[^#]*\\?" $text) (regexMatch "^\\s*[a-zA-Z][a-zA-Z0-9+.-]*:[/\\\\]*[^/\\\\?#]*@" $text) (and (not $address) (regexMatch "[@?]" $text)) -}}
{{- printf "literal\t%s\t-\n" .path -}}
{{- else -}}
{{- printf "url\t%s\t%s\n" .path $text -}}
{{- end -}}
{{- else if or (and (has .key (list "cert" "key" "ca")) (contains ".tls." .path)) (and (has .key (list "path" "rotated_dir")) (regexMatch "^(sources|destinations)\\." .path)) -}}
{{- printf "path\t%s\t%s\n" .path $text -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The port that an address is asked at; nothing, where that cannot be told. */}}
{{- define "audit-relay.urlPort" -}}
{{- $host := regexFind "^[hH][tT][tT][pP][sS]?://[^/?#]+" (trim .) -}}
{{- if $host -}}
{{- regexFind ":[0-9]+$" $host | trimPrefix ":" | default (ternary "443" "80" (hasPrefix "https" (lower $host))) -}}
{{- end -}}
{{- end -}}

{{- define "audit-relay.facts" -}}
{{- $context := . -}}
{{- $text := include "audit-relay.text" . -}}
{{- if regexMatch "(?m)^(---|\\.\\.\\.)([ \\t]|\\r?$)" (regexReplaceAll "^(\\s*(#[^\\n]*)?\\n)*---[ \\t]*(#[^\\n]*)?\\r?\\n" $text "") }}{{ fail "config: a second YAML document begins in it; the relay takes one" }}{{ end -}}
{{- $config := fromYaml $text -}}
{{- if hasKey $config "Error" }}{{ fail (printf "config is no YAML map: %s. Try `audit-relay check --no-environment -c FILE`" (get $config "Error" | trunc 300)) }}{{ end -}}
{{- if not (and (kindIs "map" $config.sources) $config.sources) }}{{ fail "config has no `sources`: say where records enter, as in files/config.yaml of the chart" }}{{ end -}}

{{- if and (kindIs "map" .Values.config) (gt (len ($config.environments | default dict)) 1) }}{{ fail "config: the order of `environments` decides, and a map in values has none: give `config` as a text (`config: |`)" }}{{ end -}}

{{- /* What the configuration leads to. */ -}}
{{- $found := "" -}}
{{- range $section := list "sources" "destinations" -}}
{{- range $name, $value := (get $config $section | default dict) -}}
{{- if has $name (list "true" "false") }}{{ fail (printf "config: a name in `%s` is y, n, yes, no, on, off, true or false, which Helm's YAML takes for a boolean: put it into quotes" $section) }}{{ end -}}
{{- $found = print $found (include "audit-relay.walk" (dict "value" $value "path" (printf "%s.%s" $section $name) "key" "" "free" false)) -}}
{{- end -}}
{{- end -}}
{{- range $section := omit $config "sources" "destinations" "tests" "links" "routes" "owners" | keys | sortAlpha -}}
{{- $found = print $found (include "audit-relay.walk" (dict "value" (get $config $section) "path" $section "key" "" "free" (eq $section "environments"))) -}}
{{- end -}}

{{- $literals := list -}}{{- $secrets := list -}}{{- $outside := list -}}{{- $references := dict -}}
{{- range splitList "\n" $found -}}
{{- if hasPrefix "literal\t" . }}{{ $literals = append $literals (index (splitList "\t" .) 1) }}{{ end -}}
{{- end -}}
{{- if $literals }}{{ fail (printf "config: a secret is written in place at `%s`. It would stand in a ConfigMap for everybody to read. Write `{file: /etc/audit-relay/secrets/NAME}` there, and put its content into a Secret: values `existingSecret` or `secrets`" (join "`, `" ($literals | uniq | sortAlpha))) }}{{ end -}}
{{- $mounts := list -}}
{{- range .Values.extraVolumeMounts }}{{ $mounts = append $mounts (printf "%s/" (trimSuffix "/" (toString .mountPath))) }}{{ end -}}
{{- $dataDir := $config.data_dir | default "/var/lib/audit-relay" -}}
{{- if or (not (kindIs "string" $dataDir)) (not (hasPrefix "/" (toString $dataDir))) (eq (trimSuffix "/" (toString $dataDir)) "") }}{{ fail "config: write `data_dir` in place, as a path from the root such as `/var/lib/audit-relay`: the chart mounts the volume there" }}{{ end -}}
{{- $environment := list "HOSTNAME" -}}
{{- range .Values.extraEnv }}{{ $environment = append $environment .name }}{{ end -}}
{{- range splitList "\n" $found -}}
{{- $parts := splitList "\t" . -}}
{{- if ge (len $parts) 3 -}}
{{- $kind := index $parts 0 -}}{{- $where := index $parts 1 -}}{{- $what := index $parts 2 -}}
{{- $_ := set $references $where (printf "%s %s" $kind $what) -}}
{{- if eq $kind "url" -}}
{{- with include "audit-relay.urlPort" $what }}{{ $outside = append $outside (int .) }}{{ end -}}
{{- else if eq $kind "env" -}}
{{- if not (or (has $what $environment) $context.Values.extraEnvFrom) }}{{ fail (printf "config: `%s` is read from the environment variable `%s`, which nothing sets: add it to extraEnv, or to extraEnvFrom" $where $what) }}{{ end -}}
{{- else if hasPrefix "/etc/audit-relay/secrets/" $what -}}
{{- $name := trimPrefix "/etc/audit-relay/secrets/" $what -}}
{{- $secrets = append $secrets $name -}}
{{- if not (or (hasKey $context.Values.secrets $name) $context.Values.existingSecret) }}{{ fail (printf "config: `%s` is read from %s, and there is no such secret. Either name a Secret that has the key `%s`: --set existingSecret=NAME (kubectl -n %s create secret generic NAME --from-literal=%s=\"$(openssl rand -hex 32)\"), or let the chart make it: --set-file secrets.%s=FILE" $where $what $name $context.Release.Namespace $name (replace "." "\\." $name)) }}{{ end -}}
{{- else if hasPrefix "/" $what -}}
{{- $there := or (hasPrefix (printf "%s/" (trimSuffix "/" $dataDir)) $what) (and (eq $kind "path") (hasPrefix "/etc/ssl/" $what)) -}}
{{- range $mounts }}{{ if hasPrefix . $what }}{{ $there = true }}{{ end }}{{ end -}}
{{- if and (not $there) (eq $kind "path") (hasPrefix "/etc/audit-relay/" $what) }}{{ $there = hasKey $context.Values.files (trimPrefix "/etc/audit-relay/" $what) }}{{ end -}}
{{- if and (not $there) (hasPrefix "/etc/audit-relay/" $what) }}{{ fail (printf "config: `%s` is read from %s. What is secret belongs below /etc/audit-relay/secrets (values `secrets` or `existingSecret`), other files into the value `files`" $where $what) }}{{ end -}}
{{- if not $there }}{{ fail (printf "config: `%s` leads to %s, where nothing is mounted: add extraVolumes and extraVolumeMounts, or take a path below %s, which is the volume of the journal" $where $what $dataDir) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* What listens. */ -}}
{{- $sources := list -}}{{- $ports := list -}}{{- $numbers := list -}}
{{- range $name, $source := $config.sources -}}
{{- if and (kindIs "map" $source) (eq (toString $source.type) "http") -}}
{{- $listen := $source.listen | default ":8787" -}}
{{- $key := printf "sources.%s.listen" $name -}}
{{- if include "audit-relay.loopback" $listen }}{{ fail (printf "config: `%s` is %s, which no other pod reaches: take `0.0.0.0:8787`, or another port" $key $listen) }}{{ end -}}
{{- $port := include "audit-relay.port" (dict "address" $listen "key" $key) | int -}}
{{- $schemes := dict -}}
{{- $signing := list -}}
{{- if kindIs "slice" $source.signing }}{{ $signing = $source.signing }}{{ else if kindIs "map" $source.signing }}{{ $signing = list $source.signing }}{{ end -}}
{{- range $index, $item := $signing -}}
{{- if kindIs "map" $item -}}
{{- $where := printf "sources.%s.signing%s.secrets" $name (ternary (printf "[%d]" $index) "" (kindIs "slice" $source.signing)) -}}
{{- $reference := get $references $where | default (get $references (printf "%s[0]" $where)) -}}
{{- $_ := set $schemes (toString $item.scheme) ($reference | default "") -}}
{{- end -}}
{{- end -}}
{{- $tls := $source.tls | default dict -}}
{{- $sources = append $sources (dict "name" $name "port" $port "portName" (printf "intake-%d" $port) "tls" (hasKey $tls "cert") "mutual" (hasKey $tls "ca") "schemes" $schemes "open" (eq (toString $source.signing) "none") "bearer" (get $references (printf "sources.%s.bearer" $name) | default "")) -}}
{{- $ports = append $ports (dict "name" (printf "intake-%d" $port) "port" $port) -}}
{{- $numbers = append $numbers $port -}}
{{- end -}}
{{- end -}}
{{- $health := ($config.health | default dict).listen | default ":9464" -}}
{{- if include "audit-relay.loopback" $health }}{{ fail (printf "config: `health.listen` is %s, where the kubelet cannot ask: leave it out, or take `:9464`" $health) }}{{ end -}}
{{- $healthPort := include "audit-relay.port" (dict "address" $health "key" "health.listen") | int -}}
{{- $ports = append $ports (dict "name" "health" "port" $healthPort) -}}
{{- $numbers = append $numbers $healthPort -}}
{{- $admin := dict -}}
{{- $adminSection := $config.admin | default dict -}}
{{- $adminListen := $adminSection.listen | default "127.0.0.1:9465" -}}
{{- if not (include "audit-relay.loopback" $adminListen) -}}
{{- if not $adminSection.token }}{{ fail (printf "config: `admin.listen` is %s, beyond loopback, and there is no `admin.token`. Give it one, `{file: /etc/audit-relay/secrets/admin}`, or leave `listen` out: `kubectl port-forward` reaches loopback" $adminListen) }}{{ end -}}
{{- $admin = dict "port" (include "audit-relay.port" (dict "address" $adminListen "key" "admin.listen") | int) -}}
{{- $ports = append $ports (dict "name" "admin" "port" $admin.port) -}}
{{- $numbers = append $numbers $admin.port -}}
{{- end -}}
{{- if ne (len $numbers) (len (uniq $numbers)) }}{{ fail (printf "config: two listeners have the same port (%s): `listen` of http sources, `health.listen` and `admin.listen` must differ" (join ", " $numbers)) }}{{ end -}}

{{- /* How long a shutdown takes. */ -}}
{{- $shutdown := $config.shutdown_timeout | default "20s" -}}
{{- $keepReading := $config.shutdown_keep_reading | default "0s" -}}
{{- $telemetry := ($config.telemetry | default dict).shutdown_timeout | default "5s" -}}
{{- $deaf := add (include "audit-relay.milliseconds" (dict "text" $shutdown "key" "shutdown_timeout")) (ternary 0 (include "audit-relay.milliseconds" (dict "text" $telemetry "key" "telemetry.shutdown_timeout")) (not ($config.telemetry | default dict).endpoint)) -}}
{{- $milliseconds := add (include "audit-relay.milliseconds" (dict "text" $shutdown "key" "shutdown_timeout")) (include "audit-relay.milliseconds" (dict "text" $keepReading "key" "shutdown_keep_reading")) (include "audit-relay.milliseconds" (dict "text" $telemetry "key" "telemetry.shutdown_timeout")) -}}
{{- $grace := div (add $milliseconds 999) 1000 -}}

{{- /* Included files, which are the value `files`. */ -}}
{{- range ternary (list $config.include) $config.include (kindIs "string" $config.include) | default list -}}
{{- if and (kindIs "string" .) (not (regexMatch "[*?\\[]|^/" .)) (not (hasKey $context.Values.files .)) }}{{ fail (printf "config: `include` names %s, which is not there: put its content into files.\"%s\"" . .) }}{{ end -}}
{{- end -}}

{{- /* Environment that the chart would not see. */ -}}
{{- range .Values.extraEnv -}}
{{- if regexMatch "^AUDIT_RELAY__(.+__LISTEN|DATA_DIR|SHUTDOWN_.+|TELEMETRY__SHUTDOWN_TIMEOUT)$" .name }}{{ fail (printf "extraEnv: %s belongs into `config`: the chart makes ports, mounts and the grace period of what stands there" .name) }}{{ end -}}
{{- if and (hasKey . "value") (regexMatch "^AUDIT_RELAY__.*(TOKEN|BEARER|PASSWORD|SECRETS|API_KEY|APP_KEY|WEBHOOK_URL)" .name) }}{{ fail (printf "extraEnv: %s is a secret, and a value written here can be read in the StatefulSet: take `valueFrom: {secretKeyRef: …}`, or a file (values `secrets`, `existingSecret`)" .name) }}{{ end -}}
{{- if or (regexMatch "^[a-zA-Z]+://[^/?#]*@" (toString .value)) (and (regexMatch "^OTEL_EXPORTER_OTLP(_.+)?_HEADERS$" .name) (regexMatch "(?i)authorization|cookie|token|secret|password|api-key|apikey" (toString .value))) }}{{ fail (printf "extraEnv: %s holds a credential, which can be read in the StatefulSet: take `valueFrom: {secretKeyRef: …}`" .name) }}{{ end -}}
{{- if and (regexMatch "^(OTEL_EXPORTER_OTLP(_.+)?_ENDPOINT|HTTPS?_PROXY|https?_proxy|AUDIT_RELAY__.*(URL|ENDPOINT|PROXY))$" .name) .value -}}
{{- with include "audit-relay.urlPort" (toString .value) }}{{ $outside = append $outside (int .) }}{{ end -}}
{{- end -}}
{{- end -}}

{{- /* Values that do not go together. */ -}}
{{- if .Values.terminationGracePeriodSeconds -}}
{{- if le (int64 .Values.terminationGracePeriodSeconds) $grace }}{{ fail (printf "terminationGracePeriodSeconds is %d, and a shutdown by this configuration may take %d s (shutdown_timeout + shutdown_keep_reading + telemetry.shutdown_timeout): leave it out, or take at least %d" (int64 .Values.terminationGracePeriodSeconds) $grace (add $grace 1)) }}{{ end -}}
{{- end -}}
{{- if gt (int .Values.replicas) 1 -}}
{{- if not .Values.acceptSeparateJournals }}{{ fail (printf "replicas is %d: each replica has a journal of its own and sees a part of the events, so order, former states, change sets and limits of a channel no longer hold, and a push that is repeated can be kept twice. Take 1; or, if that is what you want, set acceptSeparateJournals=true" (int .Values.replicas)) }}{{ end -}}
{{- if ne (toJson $config.name) "{\"env\":\"HOSTNAME\"}" }}{{ fail "config: with several replicas write `name: {env: HOSTNAME}`: event ids are made of the name" }}{{ end -}}
{{- if .Values.persistence.existingClaim }}{{ fail "persistence.existingClaim is one volume, and each replica needs its own: leave it out, or take one replica" }}{{ end -}}
{{- end -}}
{{- $most := include "audit-relay.bytes" (($config.journal | default dict).max_size | default "1GiB") -}}
{{- $size := include "audit-relay.bytes" .Values.persistence.size -}}
{{- if and $most $size (not (and .Values.persistence.enabled .Values.persistence.existingClaim)) -}}
{{- if lt (int64 $size) (add (int64 $most) 268435456) }}{{ fail (printf "persistence.size is %s, and the journal may take journal.max_size (%s) and 256 MiB for reserve, log and dead letters: take a larger volume, or a smaller journal.max_size" .Values.persistence.size (($config.journal | default dict).max_size | default "1GiB")) }}{{ end -}}
{{- end -}}
{{- $dictionary := dict "sources" $sources "health" (dict "port" $healthPort) "admin" $admin "ports" $ports "dataDir" $dataDir "outside" ($outside | uniq) "secrets" ($secrets | uniq | sortAlpha) "grace" $grace "deaf" (div (add $deaf 999) 1000) "restart" (list $config.name $config.data_dir ($config.log | default dict).format) -}}
{{- toJson $dictionary -}}
{{- end -}}
