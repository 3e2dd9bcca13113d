{{- /* A pod of a part that serves: dict "root" . "part" .Values.worker "component" "worker" "image" ... */ -}}
{{- define "nextclick.pod" -}}
{{- $root := .root }}
{{- $part := .part }}
metadata:
  labels:
    {{- include "nextclick.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
  annotations:
    # Another setting is another pod; rules are followed as they change.
    checksum/settings: {{ include "nextclick.environment" $root | sha256sum }}
    checksum/mappings: {{ toJson $root.Values.mappings | sha256sum }}
    {{- with $part.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "nextclick.serviceAccount" $root }}
  {{- include "nextclick.podSecurity" $root | nindent 2 }}
  terminationGracePeriodSeconds: {{ $part.terminationGracePeriodSeconds }}
  {{- with include "nextclick.bundleContainer" $root }}
  initContainers:
    {{- . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .component }}
      image: {{ .image }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args: [{{ .component }}]
      {{- include "nextclick.containerSecurity" $root | nindent 6 }}
      envFrom:
        - configMapRef: {name: {{ include "nextclick.fullname" $root }}}
      {{- with printf "%s%s" (include "nextclick.secretEnvironment" $root) .environment }}
      env:
        {{- . | nindent 8 }}
      {{- end }}
      {{- .container | nindent 6 }}
      resources:
        {{- $gpu := $part.gpu }}
        {{- $devices := ternary (dict $gpu.resource $gpu.count) (dict) (gt (int $gpu.count) 0) }}
        {{- with $part.resources.requests }}
        requests: {{ toJson . }}
        {{- end }}
        limits: {{ toJson (merge (dict) ($part.resources.limits | default dict) $devices) }}
      volumeMounts:
        - {name: state, mountPath: /var/lib/nextclick}
        - {name: tmp, mountPath: /tmp}
        - {name: bundle, mountPath: /bundle, readOnly: true}
        {{- include "nextclick.fileMounts" $root | nindent 8 }}
        {{- .mounts | nindent 8 }}
  volumes:
    - name: state
      emptyDir: {sizeLimit: {{ $root.Values.scratch.state }}}
    - name: tmp
      emptyDir: {sizeLimit: {{ $root.Values.scratch.tmp }}}
    - name: bundle
      {{- if $root.Values.bundle.claim }}
      persistentVolumeClaim: {claimName: {{ $root.Values.bundle.claim }}, readOnly: true}
      {{- else }}
      emptyDir: {}
      {{- end }}
    {{- include "nextclick.fileVolumes" $root | nindent 4 }}
    {{- .volumes | nindent 4 }}
  {{- with $part.nodeSelector }}
  nodeSelector: {{ toJson . }}
  {{- end }}
  {{- with $part.tolerations }}
  tolerations: {{ toJson . }}
  {{- end }}
  {{- with $part.affinity }}
  affinity: {{ toJson . }}
  {{- end }}
  topologySpreadConstraints:
    {{- if $part.topologySpreadConstraints }}
    {{- toYaml $part.topologySpreadConstraints | nindent 4 }}
    {{- else }}
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "nextclick.selector" $root | nindent 10 }}
          app.kubernetes.io/component: {{ $.component }}
    {{- end }}
    {{- end }}
{{- end }}

{{- define "nextclick.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  {{- toYaml .Values.podSecurity | nindent 2 }}
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- end }}

{{- define "nextclick.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- /* What fills the volume `bundle`, unless a claim does. */ -}}
{{- define "nextclick.bundleContainer" -}}
{{- $bundle := .Values.bundle }}
{{- if $bundle.image }}
- name: bundle
  image: {{ $bundle.image }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [cp, -R, {{ printf "%s/." (trimSuffix "/" $bundle.path) }}, /into/]
  {{- include "nextclick.containerSecurity" . | nindent 2 }}
  resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {memory: 256Mi}}
  volumeMounts:
    - {name: bundle, mountPath: /into}
{{- else if $bundle.initContainer }}
- {{ toJson $bundle.initContainer }}
{{- end }}
{{- end }}
