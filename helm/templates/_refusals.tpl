{{/* Values that each are right and together cannot work. One message for all that is wrong, each with its remedy. */}}
{{- define "spatial-mamba.refusals" -}}
{{- $wrong := list -}}
{{- $config := .Values.config -}}

{{- $grace := int .Values.terminationGracePeriodSeconds -}}
{{- $drain := include "spatial-mamba.drain" . | fromYaml -}}
{{- $needed := addf (include "spatial-mamba.seconds" $drain.delay | float64) (include "spatial-mamba.seconds" $drain.timeout | float64) 5.0 -}}
{{- if gt $needed (float64 $grace) -}}
{{- $wrong = append $wrong (printf "drain.delay %s and drain.timeout %s and 5 s do not fit terminationGracePeriodSeconds: %d. Raise that to %v, or leave drain.* out: both are then derived from it" $drain.delay $drain.timeout $grace (ceil $needed)) -}}
{{- end -}}
{{- range $key := list "delay" "timeout" -}}
{{- $both := list (get $.Values.drain $key) (get ($config.drain | default dict) $key) -}}
{{- if and (first $both) (last $both) (ne (toString (first $both)) (toString (last $both))) -}}
{{- $wrong = append $wrong (printf "drain.%s and config.drain.%s differ. Give only drain.%s" $key $key $key) -}}
{{- end -}}
{{- end -}}

{{- range $key := list "listen" "admin" -}}
{{- $address := get $config $key | default "0.0.0.0:1" -}}
{{- if regexMatch "^(127\\.|localhost|\\[::1\\])" $address -}}
{{- $wrong = append $wrong (printf "config.%s is %s, which nobody outside the pod reaches. Write 0.0.0.0 and the port, or leave it out" $key $address) -}}
{{- end -}}
{{- if not (regexMatch ":[1-9][0-9]*$" $address) -}}
{{- $wrong = append $wrong (printf "config.%s is %s; a Service needs a port that is known. End it with :PORT, or leave it out" $key $address) -}}
{{- end -}}
{{- end -}}
{{- if eq (include "spatial-mamba.grpcPort" .) (include "spatial-mamba.adminPort" .) -}}
{{- $wrong = append $wrong "config.listen and config.admin have the same port. Give one of them another" -}}
{{- end -}}
{{- range $key := list "certificate" "key" "client_ca" "client_auth" -}}
{{- if and $.Values.tls.enabled (get ($config.tls | default dict) $key) -}}
{{- $wrong = append $wrong (printf "config.tls.%s is given and tls.enabled is on, which sets it. Leave config.tls.%s out (tls.clientAuth is the value for client certificates)" $key $key) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.auth.existingSecret ($config.auth | default dict).tokens_file -}}
{{- $wrong = append $wrong "config.auth.tokens_file is given and auth.existingSecret sets it. Leave one out" -}}
{{- end -}}
{{- if and (ne .Values.tls.clientAuth "none") (not .Values.tls.enabled) -}}
{{- $wrong = append $wrong "tls.clientAuth asks for client certificates without TLS. Set tls.enabled" -}}
{{- end -}}

{{- $gpu := include "spatial-mamba.gpuResource" . -}}
{{- if and (not $gpu) (has "cuda" (regexFindAll "^cuda" (toString ($config.device | default "")) 1)) -}}
{{- $wrong = append $wrong "config.device is cuda and no GPU is asked for. Set gpu.count" -}}
{{- end -}}
{{- if and (contains "mig-" $gpu) (gt (int .Values.gpu.count) 1) -}}
{{- $wrong = append $wrong (printf "gpu.count is %d slices of %s, of which a process can use one. Set gpu.count to 1 and have more replicas" (int .Values.gpu.count) $gpu) -}}
{{- end -}}

{{- $scaling := .Values.autoscaling -}}
{{- if and (ne $scaling.mode "none") (gt (int $scaling.minReplicas) (int $scaling.maxReplicas)) -}}
{{- $wrong = append $wrong (printf "autoscaling.minReplicas %d is above maxReplicas %d" (int $scaling.minReplicas) (int $scaling.maxReplicas)) -}}
{{- end -}}
{{- if and .Values.monitoring.serviceMonitor .Values.monitoring.podMonitor -}}
{{- $wrong = append $wrong "monitoring.serviceMonitor and monitoring.podMonitor together count everything twice. Set one of them" -}}
{{- end -}}
{{- if and (eq .Values.models.source "oci") (semverCompare "<1.33.0-0" .Capabilities.KubeVersion.Version) -}}
{{- $wrong = append $wrong (printf "models.source oci needs Kubernetes 1.33 (image volumes); this is %s. Use init or pvc" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- if and (eq .Values.strategy.type "RollingUpdate") (eq (toString .Values.strategy.rollingUpdate.maxSurge) "0") (eq (toString .Values.strategy.rollingUpdate.maxUnavailable) "0") -}}
{{- $wrong = append $wrong "strategy.rollingUpdate allows no pod more and no pod less, so it can never finish. Raise one of them" -}}
{{- end -}}

{{- if $wrong -}}
{{- fail (printf "\n  - %s" (join "\n  - " $wrong)) -}}
{{- end -}}
{{- end }}
