{{- /* Variable: value, of everything that is no secret. */ -}}
{{- define "nextclick.environment" -}}
{{- range $name, $value := .Values.settings }}
NEXTCLICK_{{ $name | upper }}: {{ include "nextclick.plain" $value | quote }}
{{- end }}
{{- range $name, $file := .Values.secretFiles }}
NEXTCLICK_{{ $name | upper }}: /etc/nextclick/secrets/{{ $name }}
{{- end }}
{{- if .Values.rules }}
NEXTCLICK_RULES: /etc/nextclick/rules/rules.toml
{{- end }}
NEXTCLICK_BUNDLE: {{ printf "/bundle/%s" .Values.bundle.folder | trimSuffix "/" }}
NEXTCLICK_METRICS_PORT: {{ .Values.metrics.port | quote }}
NEXTCLICK_METRICS_BIND: 0.0.0.0
{{- end }}

{{- /* A value as settings read it: Helm writes a number of a million and more with an exponent. */ -}}
{{- define "nextclick.plain" -}}
{{- if and (kindIs "float64" .) (eq (floor .) (float64 .)) }}{{ printf "%.0f" . }}{{ else }}{{ . }}{{ end -}}
{{- end }}

{{- /* Variables out of Secrets, as a container wants them. */ -}}
{{- define "nextclick.secretEnvironment" -}}
{{- range $name, $reference := .Values.secrets }}
- name: NEXTCLICK_{{ $name | upper }}
  valueFrom:
    secretKeyRef: {{ toJson $reference }}
{{- end }}
{{- end }}

{{- /* What no schema can see. */ -}}
{{- define "nextclick.check" -}}
{{- $settings := .Values.settings }}
{{- range $name, $_ := .Values.secrets }}
{{- if or (hasKey $settings $name) (hasKey $.Values.secretFiles $name) }}
{{- fail (printf "%s stands in `secrets` and elsewhere; keep one of them" $name) }}
{{- end }}
{{- end }}
{{- range $name, $_ := .Values.secretFiles }}
{{- if hasKey $settings $name }}
{{- fail (printf "%s stands in `settings` and in `secretFiles`; keep one of them" $name) }}
{{- end }}
{{- end }}
{{- $provider := $settings.provider | default "cuda" }}
{{- if and (eq (int .Values.worker.gpu.count) 0) (ne $provider "cpu") }}
{{- fail "worker.gpu.count is 0 and settings.provider is cuda; set settings.provider to cpu, or ask for a GPU" }}
{{- end }}
{{- if and (gt (int .Values.worker.gpu.count) 0) (eq $provider "cpu") }}
{{- fail "settings.provider is cpu and worker.gpu.count is not 0, so the GPU would idle; set worker.gpu.count to 0" }}
{{- end }}
{{- if and .Values.api.enabled (ne (eq .Values.api.provider "cuda") (gt (int .Values.api.gpu.count) 0)) }}
{{- fail "api.provider cuda and an api.gpu.count of 1 or more go together; set both or neither" }}
{{- end }}
{{- if and .Values.api.enabled (not .Values.api.keys.name) }}
{{- fail "the API serves whoever reaches its Service, so it needs keys: put the lines of `nextclick api-key` into a Secret and name it in api.keys.name" }}
{{- end }}
{{- $bundle := .Values.bundle }}
{{- if ne 1 (len (compact (list $bundle.claim $bundle.image (ternary "" "own" (empty $bundle.initContainer))))) }}
{{- fail "where does the bundle come from? set exactly one of bundle.claim, bundle.image and bundle.initContainer" }}
{{- end }}
{{- if .Values.networkPolicy.enabled }}
{{- $addresses := dict "kafka" (splitList "," $settings.brokers) }}
{{- if $settings.redis_url }}
{{- $host := (urlParse $settings.redis_url).host }}
{{- $_ := set $addresses "redis" (list (ternary $host (printf "%s:6379" $host) (regexMatch ":[0-9]+$" $host))) }}
{{- end }}
{{- range $part, $hosts := $addresses }}
{{- $open := list }}
{{- range (get $.Values.networkPolicy $part).ports }}{{ $open = append $open (toString .) }}{{ end }}
{{- range $hosts }}
{{- $port := last (splitList ":" (trim .)) }}
{{- if not (has $port $open) }}
{{- fail (printf "pods may not call %s: port %s is not in networkPolicy.%s.ports; add it" . $port $part) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- $partitions := int ($settings.partitions | default 16) }}
{{- $workers := .Values.worker.autoscaling.enabled | ternary .Values.worker.autoscaling.maxReplicas .Values.worker.replicas }}
{{- if gt (int $workers) $partitions }}
{{- fail (printf "%d workers cannot share %d partitions; lower worker.replicas or worker.autoscaling.maxReplicas, or raise settings.partitions" (int $workers) $partitions) }}
{{- end }}
{{- if lt (int .Values.worker.autoscaling.maxReplicas) (int .Values.worker.autoscaling.minReplicas) }}
{{- fail "worker.autoscaling.maxReplicas is less than minReplicas; raise the one or lower the other" }}
{{- end }}
{{- end }}
