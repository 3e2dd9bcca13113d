{{- /* What is a worker's own in its container: ports and probes. */ -}}
{{- define "nextclick.workerContainer" -}}
ports:
  - {name: metrics, containerPort: {{ .Values.metrics.port }}}
startupProbe:
  httpGet: {path: /live, port: metrics}
  periodSeconds: 5
  failureThreshold: {{ div (add .Values.worker.startupSeconds 4) 5 }}
# Fails where the consumer has stalled: records wait, and no offset is committed.
livenessProbe:
  httpGet: {path: /live, port: metrics}
  periodSeconds: 10
  timeoutSeconds: 3
  failureThreshold: 3
  # One whose event loop hangs does not hear SIGTERM.
  terminationGracePeriodSeconds: 10
readinessProbe:
  httpGet: {path: /ready, port: metrics}
  periodSeconds: 5
  timeoutSeconds: 3
{{- end }}

{{- /* The same of the API. */ -}}
{{- define "nextclick.apiContainer" -}}
{{- $scheme := ternary "HTTPS" "HTTP" (not (empty .Values.api.tlsSecret)) }}
ports:
  - {name: http, containerPort: 8080}
startupProbe:
  httpGet: {path: /health/live, port: http, scheme: {{ $scheme }}}
  periodSeconds: 5
  failureThreshold: {{ div (add .Values.api.startupSeconds 4) 5 }}
livenessProbe:
  httpGet: {path: /health/live, port: http, scheme: {{ $scheme }}}
  periodSeconds: 10
  timeoutSeconds: 3
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /health/ready, port: http, scheme: {{ $scheme }}}
  periodSeconds: 5
  timeoutSeconds: 3
# Until every node knows that this pod takes no more requests.
lifecycle: {preStop: {sleep: {seconds: 5}}}
{{- end }}

{{- define "nextclick.apiEnvironment" -}}
- {name: NEXTCLICK_PROVIDER, value: {{ .Values.api.provider }}}
- {name: NEXTCLICK_API_BIND, value: 0.0.0.0}
- {name: NEXTCLICK_API_PORT, value: "8080"}
- {name: NEXTCLICK_API_KEYS, value: /etc/nextclick/api/keys}
{{- if .Values.api.tlsSecret }}
- {name: NEXTCLICK_API_CERT_FILE, value: /etc/nextclick/tls/tls.crt}
- {name: NEXTCLICK_API_CERT_KEY_FILE, value: /etc/nextclick/tls/tls.key}
{{- end }}
{{- end }}

{{- define "nextclick.apiMounts" -}}
- {name: keys, mountPath: /etc/nextclick/api, readOnly: true}
{{- if .Values.api.tlsSecret }}
- {name: tls, mountPath: /etc/nextclick/tls, readOnly: true}
{{- end }}
{{- end }}

{{- define "nextclick.apiVolumes" -}}
- name: keys
  secret:
    secretName: {{ .Values.api.keys.name }}
    defaultMode: 0440
    items: [{key: {{ .Values.api.keys.key }}, path: keys}]
{{- if .Values.api.tlsSecret }}
- name: tls
  secret: {secretName: {{ .Values.api.tlsSecret }}, defaultMode: 0440}
{{- end }}
{{- end }}
