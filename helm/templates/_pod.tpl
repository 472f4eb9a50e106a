{{/* "restricted" of the pod security standards, and the user of the image. fsGroup lets it read Secrets. */}}
{{- define "spatial-mamba.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "spatial-mamba.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "spatial-mamba.modelsVolume" -}}
{{- $models := .Values.models -}}
{{- if eq $models.source "pvc" }}
- name: models
  persistentVolumeClaim:
    claimName: {{ default (printf "%s-models" (include "spatial-mamba.fullname" .)) $models.pvc.claimName }}
    readOnly: true
{{- else if eq $models.source "oci" }}
- name: models
  image:
    reference: {{ default (include "spatial-mamba.modelsImage" .) $models.oci.reference }}
    pullPolicy: {{ $models.oci.pullPolicy }}
{{- else if eq $models.source "init" }}
- name: models
  emptyDir: {sizeLimit: {{ $models.init.sizeLimit }}}
{{- end }}
{{- end }}

{{- define "spatial-mamba.placement" -}}
{{- range $key := list "nodeSelector" "tolerations" "affinity" }}
{{- with get $.Values $key }}
{{ $key }}: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- range $key := list "priorityClassName" "runtimeClassName" }}
{{- with get $.Values $key }}
{{ $key }}: {{ . }}
{{- end }}
{{- end }}
{{- if .Values.topologySpreadConstraints }}
topologySpreadConstraints: {{- toYaml .Values.topologySpreadConstraints | nindent 2 }}
{{- else if .Values.topologySpread }}
topologySpreadConstraints:
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "spatial-mamba.podLabels" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- end }}
