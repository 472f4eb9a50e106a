{{- define "spatial-mamba.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{/* The release's name already says what it is in `helm install spatial-mamba`; 53 characters leave room for suffixes. */}}
{{- define "spatial-mamba.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" -}}
{{- else if contains "spatial-mamba" .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "spatial-mamba.name" .) | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "spatial-mamba.selectorLabels" -}}
app.kubernetes.io/name: {{ include "spatial-mamba.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "spatial-mamba.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "spatial-mamba.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "spatial-mamba.podLabels" -}}
{{ include "spatial-mamba.selectorLabels" . }}
app.kubernetes.io/component: server
{{- end }}

{{- define "spatial-mamba.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "spatial-mamba.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{/* What the job is called in Prometheus: one for each release, and spatial-mamba at its start as the rules want it. */}}
{{- define "spatial-mamba.job" -}}
{{- printf "spatial-mamba/%s/%s" .Release.Namespace (include "spatial-mamba.fullname" .) -}}
{{- end }}

{{- define "spatial-mamba.gpuResource" -}}
{{- if .Values.gpu.resourceName -}}
{{- .Values.gpu.resourceName -}}
{{- else if gt (int .Values.gpu.count) 0 -}}
nvidia.com/gpu
{{- end -}}
{{- end }}

{{/* Devices of a pod: its GPUs, or its processors as one. */}}
{{- define "spatial-mamba.devices" -}}
{{- max 1 (int .Values.gpu.count) -}}
{{- end }}

{{- define "spatial-mamba.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- $variant := ternary "-cuda" "" (ne (include "spatial-mamba.gpuResource" .) "") -}}
{{- printf "%s:%s" .Values.image.repository (default (print .Chart.AppVersion $variant) .Values.image.tag) -}}
{{- end -}}
{{- end }}

{{- define "spatial-mamba.modelsImage" -}}
{{- printf "%s-models:%s" .Values.image.repository .Chart.AppVersion -}}
{{- end }}
