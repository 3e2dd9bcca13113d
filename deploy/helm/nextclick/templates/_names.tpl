{{- define "nextclick.fullname" -}}
{{- $name := .Release.Name -}}
{{- if not (contains "nextclick" $name) }}{{ $name = printf "%s-nextclick" $name }}{{ end -}}
{{- $name | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{- define "nextclick.selector" -}}
app.kubernetes.io/name: nextclick
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "nextclick.labels" -}}
{{ include "nextclick.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "nextclick.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "nextclick.fullname" .) }}
{{- end }}

{{- /* The image of a part (dict "root" . "own" .Values.api.image); the workers' where it has none. */ -}}
{{- define "nextclick.image" -}}
{{- $values := .root.Values.image -}}
{{- $image := ternary .own $values (not (empty .own.repository)) -}}
{{- if $image.digest -}}
{{ printf "%s@%s" $image.repository $image.digest }}
{{- else -}}
{{ printf "%s:%s" $image.repository ($image.tag | default .root.Chart.AppVersion) }}
{{- end -}}
{{- end }}
