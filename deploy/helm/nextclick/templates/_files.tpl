{{- /* Rules, mappings and files out of Secrets: where they lie, and what they are. */ -}}
{{- define "nextclick.fileMounts" -}}
{{- if .Values.rules }}
- {name: rules, mountPath: /etc/nextclick/rules, readOnly: true}
{{- end }}
{{- if .Values.mappings }}
- {name: mappings, mountPath: /etc/nextclick/mappings, readOnly: true}
{{- end }}
{{- if .Values.secretFiles }}
- {name: secrets, mountPath: /etc/nextclick/secrets, readOnly: true}
{{- end }}
{{- end }}

{{- define "nextclick.fileVolumes" -}}
{{- if .Values.rules }}
- name: rules
  configMap: {name: {{ include "nextclick.fullname" . }}-rules}
{{- end }}
{{- if .Values.mappings }}
- name: mappings
  configMap: {name: {{ include "nextclick.fullname" . }}-mappings}
{{- end }}
{{- with include "nextclick.secretFiles" . }}
{{- . }}
{{- end }}
{{- end }}

{{- define "nextclick.secretFiles" -}}
{{- if .Values.secretFiles }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range $name, $file := .Values.secretFiles }}
      - secret:
          name: {{ $file.name }}
          items: [{key: {{ $file.key }}, path: {{ $name }}}]
      {{- end }}
{{- end }}
{{- end }}
