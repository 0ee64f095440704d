{{- define "directway.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- /* Room is left for the suffixes -agent and -controller: names of pods' owners end at 63. */}}
{{- define "directway.fullname" -}}
{{- $name := include "directway.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "directway.selector" -}}
app.kubernetes.io/name: {{ include "directway.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "directway.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{ include "directway.podLabels" . }}
{{- end }}

{{- /* Nothing with a version: pods are replaced when what they run changes, not whenever the chart does. */}}
{{- define "directway.podLabels" -}}
{{ include "directway.selector" . }}
app.kubernetes.io/part-of: directway
{{- end }}

{{- define "directway.serviceAccount" -}}
{{- $own := printf "%s-%s" (include "directway.fullname" .root) .component }}
{{- (index .root.Values .component).serviceAccount.name | default $own }}
{{- end }}

{{- define "directway.image" -}}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Environment of both programs: where the API server is, if not where Kubernetes says. */}}
{{- define "directway.apiServerEnv" -}}
{{- with .Values.apiServer }}
{{- if .host }}
- name: KUBERNETES_SERVICE_HOST
  value: {{ .host | quote }}
- name: KUBERNETES_SERVICE_PORT
  value: {{ .port | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- /* A part of a hook: what it belongs to, and its place in the order. */}}
{{- define "directway.hook" -}}
helm.sh/hook: {{ .event }}
helm.sh/hook-weight: {{ .weight | quote }}
# What failed stays to be looked at; the next attempt replaces it.
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{- /* Pod and container of what runs once, without privileges: where the controller may run, an ordinary pod may. */}}
{{- define "directway.shortLivedPod" -}}
restartPolicy: Never
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
serviceAccountName: {{ .serviceAccount }}
automountServiceAccountToken: true
enableServiceLinks: false
{{- with .root.Values.controller.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
nodeSelector:
  kubernetes.io/os: linux
  {{- with .root.Values.controller.nodeSelector }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .root.Values.controller.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "directway.shortLivedContainer" -}}
image: {{ include "directway.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
- name: NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
{{- with include "directway.apiServerEnv" . }}
{{ . }}
{{- end }}
resources:
  {{- toYaml .Values.controller.resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}
