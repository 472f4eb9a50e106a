{{/* Seconds of a duration as the server writes them: 500ms, 5s, 2m, 1h; a bare number is seconds. */}}
{{- define "spatial-mamba.seconds" -}}
{{- $text := toString . -}}
{{- if not (regexMatch "^[0-9]+(\\.[0-9]+)?(ms|s|m|h)?$" $text) -}}
{{- fail (printf "\"%s\" is no duration: write it as 500ms, 5s, 2m or 1h" $text) -}}
{{- end -}}
{{- $unit := regexFind "[a-z]+$" $text | default "s" -}}
{{- mulf (regexFind "^[0-9.]+" $text | float64) (get (dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0) $unit) -}}
{{- end }}

{{/* {delay, timeout} of the drain, as YAML: what is given, the rest from the grace period. */}}
{{- define "spatial-mamba.drain" -}}
{{- $grace := int .Values.terminationGracePeriodSeconds -}}
{{- $given := .Values.config.drain | default dict -}}
{{- $delay := toString (.Values.drain.delay | default (get $given "delay")) -}}
{{- $timeout := toString (.Values.drain.timeout | default (get $given "timeout")) -}}
{{- if not $delay -}}
{{- $left := $grace -}}
{{- if $timeout -}}
{{- $left = include "spatial-mamba.seconds" $timeout | float64 | ceil | int | sub (sub $grace 5) | max 0 -}}
{{- $delay = printf "%ds" (min 5 $left) -}}
{{- else -}}
{{- $delay = printf "%ds" (min 5 (div $grace 4)) -}}
{{- end -}}
{{- end -}}
{{- if not $timeout -}}
{{- $timeout = printf "%ds" (include "spatial-mamba.seconds" $delay | float64 | ceil | int | sub (sub $grace 5) | max 1) -}}
{{- end -}}
delay: {{ regexMatch "[a-z]$" $delay | ternary $delay (print $delay "s") }}
timeout: {{ regexMatch "[a-z]$" $timeout | ternary $timeout (print $timeout "s") }}
{{- end }}

{{- define "spatial-mamba.port" -}}
{{- regexFind "[0-9]+$" . -}}
{{- end }}
{{- define "spatial-mamba.grpcPort" -}}
{{- include "spatial-mamba.port" (.Values.config.listen | default "0.0.0.0:8001") -}}
{{- end }}
{{- define "spatial-mamba.adminPort" -}}
{{- include "spatial-mamba.port" (.Values.config.admin | default "0.0.0.0:8002") -}}
{{- end }}

{{- define "spatial-mamba.modelsPath" -}}
{{- $default := ternary "/opt/spatial-mamba/share/spatial-mamba/models" "/models" (eq .Values.models.source "image") -}}
{{- default $default .Values.models.path -}}
{{- end }}

{{- define "spatial-mamba.tlsSecret" -}}
{{- default (printf "%s-tls" (include "spatial-mamba.fullname" .)) .Values.tls.existingSecret -}}
{{- end }}

{{/* The server's configuration file. Files of models that are not absolute are below the folder of the models. */}}
{{- define "spatial-mamba.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $folder := include "spatial-mamba.modelsPath" . -}}
{{- $_ := set $config "listen" ($config.listen | default "0.0.0.0:8001") -}}
{{- $_ := set $config "admin" ($config.admin | default "0.0.0.0:8002") -}}
{{- $_ := set $config "drain" (include "spatial-mamba.drain" . | fromYaml) -}}
{{- if and (include "spatial-mamba.gpuResource" .) (not $config.device) -}}
{{- /* Not auto: a pod that asked for a GPU and got none is to fail, not to compute on two processors. */ -}}
{{- $_ := set $config "device" "cuda" -}}
{{- end -}}
{{- range $config.models -}}
{{- if not (hasPrefix "/" .weights) -}}
{{- $_ := set . "weights" (printf "%s/%s" $folder .weights) -}}
{{- end -}}
{{- if and (kindIs "string" .classes) (not (has .classes (list "imagenet" "coco" "ade20k"))) -}}
{{- $_ := set . "classes" (ternary .classes (printf "%s/%s" $folder .classes) (hasPrefix "/" .classes)) -}}
{{- end -}}
{{- end -}}
{{- if .Values.tls.enabled -}}
{{- $tls := dict "certificate" "/etc/spatial-mamba/tls/tls.crt" "key" "/etc/spatial-mamba/tls/tls.key" -}}
{{- if ne .Values.tls.clientAuth "none" -}}
{{- $tls = merge $tls (dict "client_ca" "/etc/spatial-mamba/tls/ca.crt" "client_auth" .Values.tls.clientAuth) -}}
{{- end -}}
{{- $_ := set $config "tls" (merge $tls ($config.tls | default dict)) -}}
{{- end -}}
{{- if .Values.auth.existingSecret -}}
{{- $_ := set $config "auth" (dict "tokens_file" "/etc/spatial-mamba/auth/tokens") -}}
{{- end -}}
{{- toYaml $config -}}
{{- end }}
