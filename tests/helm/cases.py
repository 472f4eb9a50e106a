"""What the chart's tests render and refuse."""

from __future__ import annotations

from typing import Any

Values = dict[str, Any]

# Rendered, compared with golden/NAME.yaml, and checked in every way there is.
GOLDEN: dict[str, Values] = {
    "default": {},
    "gpus": {"gpu": {"count": 2}, "resources": {"requests": {"cpu": "8"}, "limits": {"cpu": "8", "memory": "32Gi"}},
             "runtimeClassName": "nvidia", "nodeSelector": {"nvidia.com/gpu.present": "true"},
             "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]},
    "mig-slice": {"gpu": {"resourceName": "nvidia.com/mig-1g.10gb"}, "image": {"digest": "sha256:" + "0" * 64}},
    "tls-and-tokens": {"tls": {"enabled": True, "existingSecret": "vision-tls", "clientAuth": "require"},
                       "auth": {"existingSecret": "vision-tokens"}},
    "keda": {"autoscaling": {"mode": "keda", "minReplicas": 2, "maxReplicas": 20}, "gpu": {"count": 4},
             "monitoring": {"serviceMonitor": True, "rules": True, "dashboard": True, "labels": {"release": "prometheus"}}},
    "hpa": {"autoscaling": {"mode": "hpa", "target": 0.75}, "monitoring": {"podMonitor": True}},
    "models-from-a-claim": {
        "models": {"source": "pvc", "pvc": {"claimName": "weights", "subPath": "spatial-mamba"}},
        "config": {"models": [{"name": "imagenet", "task": "classify", "variant": "tiny", "classes": "imagenet",
                               "weights": "spatialmamba_tiny.pth", "sha256": "ab" * 32},
                              {"name": "coco", "task": "detect", "variant": "small", "classes": "coco",
                               "weights": "/elsewhere/mask_rcnn.pth"}]}},
    "models-from-an-image": {"models": {"source": "oci", "oci": {"reference": "registry.example/weights:3"}}},
    "models-by-an-init-container": {
        "models": {"source": "init", "path": "/data", "init": {"image": "registry.example/fetch:1", "command": ["fetch"],
                                                              "env": [{"name": "BUCKET", "value": "weights"}]}}},
    "exposed": {"gateway": {"enabled": True, "hostnames": ["vision.example"]}, "service": {"port": 443},
                "networkPolicy": {"enabled": True, "grpcFrom": [{"podSelector": {"matchLabels": {"role": "caller"}}}]},
                "config": {"listen": "0.0.0.0:9001", "admin": "0.0.0.0:9002"}},
    "slow-drain": {"terminationGracePeriodSeconds": 120, "drain": {"delay": "1500ms"}},
    "everything-else": {
        "nameOverride": "vision", "fullnameOverride": "vision", "imagePullSecrets": [{"name": "registry"}],
        "config": {"limits": {"image_pixels": 100000000}, "log": {"format": "json"}},
        "serviceAccount": {"create": False, "name": "someone"}, "podDisruptionBudget": {"enabled": False},
        "strategy": {"type": "Recreate"}, "podAnnotations": {"a": "b"}, "podLabels": {"team": "x"}, "priorityClassName": "high",
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "preference": {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}}]}},
        "topologySpreadConstraints": [{"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}],
        "extraArgs": ["--set=log.level=debug"], "extraEnv": [{"name": "TZ", "value": "UTC"}],
        "extraEnvFrom": [{"configMapRef": {"name": "more"}}], "extraVolumes": [{"name": "scratch", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
        "extraContainers": [{"name": "sidecar", "image": "sidecar:1"}],
        "extraInitContainers": [{"name": "first", "image": "first:1"}],
        "extraManifests": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-extra"},
                            "data": {"a": "b"}}]},
}

# Each key that others depend on, alone, with values that it may have.
CONTRACT: list[Values] = [
    {"image": {"repository": "registry.example/x"}}, {"image": {"tag": "1.2.3"}}, {"image": {"digest": "sha256:" + "a" * 64}},
    {"replicaCount": 3}, {"replicaCount": 0},
    {"config": {"batching": {"max_batch_size": 8}}}, {"config": {"drain": {"timeout": "20s"}}},
    {"config": {"listen": "0.0.0.0:8001", "admin": "0.0.0.0:8002"}},
    {"gpu": {"count": 1}}, {"gpu": {"resourceName": "nvidia.com/gpu"}}, {"gpu": {"resourceName": ""}},
    {"tls": {"enabled": True}}, {"tls": {"existingSecret": "x"}}, {"auth": {"existingSecret": "x"}},
    {"autoscaling": {"mode": "none"}}, {"autoscaling": {"mode": "hpa"}}, {"autoscaling": {"mode": "keda"}},
    {"autoscaling": {"minReplicas": 2}}, {"autoscaling": {"maxReplicas": 5}}, {"autoscaling": {"target": 0.5}},
    {"models": {"source": "image"}}, {"models": {"source": "pvc"}}, {"models": {"source": "oci"}},
    {"models": {"source": "init"}},
    {"monitoring": {"serviceMonitor": True}}, {"monitoring": {"podMonitor": True}}, {"monitoring": {"rules": True}},
    {"monitoring": {"dashboard": True}},
    {"networkPolicy": {"enabled": True}}, {"gateway": {"enabled": True}},
    {"podDisruptionBudget": {"enabled": True}}, {"podDisruptionBudget": {"enabled": False}},
    {"drain": {"delay": "10s"}}, {"drain": {"timeout": "30s"}}, {"drain": {"timeout": 40}},
    {"serviceAccount": {"create": True}}, {"serviceAccount": {"create": False}},
]

# Values that are refused, and words of the message that says so.
REFUSED: list[tuple[Values, str]] = [
    # By the schema: keys and types.
    ({"replicas": 2}, "replicas"),
    ({"image": {"repo": "x"}}, "repo"),
    ({"image": {"repository": ""}}, "/image/repository"),
    ({"image": {"digest": "latest"}}, "/image/digest"),
    ({"replicaCount": "two"}, "/replicaCount"),
    ({"gpu": {"count": -1}}, "/gpu/count"),
    ({"gpu": {"count": 0.5}}, "/gpu/count"),
    ({"gpu": {"resourceName": "gpu"}}, "/gpu/resourceName"),
    ({"autoscaling": {"mode": "cpu"}}, "/autoscaling/mode"),
    ({"autoscaling": {"target": 1.5}}, "/autoscaling/target"),
    ({"autoscaling": {"minReplicas": 0}}, "/autoscaling/minReplicas"),
    ({"models": {"source": "s3"}}, "/models/source"),
    ({"models": {"path": "relative"}}, "/models/path"),
    ({"config": {"models": []}}, "/config/models"),
    ({"config": {"models": [{"name": "x"}]}}, "weights"),
    ({"drain": {"timeout": "soon"}}, "/drain/timeout"),
    ({"tls": {"clientAuth": "maybe"}}, "/tls/clientAuth"),
    ({"service": {"type": "ExternalName"}}, "/service/type"),
    ({"terminationGracePeriodSeconds": 1}, "/terminationGracePeriodSeconds"),
    # By the templates: what cannot work together.
    ({"drain": {"timeout": "60s"}}, "do not fit terminationGracePeriodSeconds: 45. Raise that to 65"),
    ({"drain": {"delay": "45s"}}, "do not fit terminationGracePeriodSeconds"),
    ({"terminationGracePeriodSeconds": 30, "drain": {"delay": "1m", "timeout": "1m"}}, "Raise that to 125"),
    ({"drain": {"delay": "2s"}, "config": {"drain": {"delay": "3s"}}}, "drain.delay and config.drain.delay differ"),
    ({"config": {"listen": "127.0.0.1:8001"}}, "config.listen is 127.0.0.1:8001, which nobody outside the pod reaches"),
    ({"config": {"admin": "localhost:8002"}}, "config.admin is localhost:8002, which nobody"),
    ({"config": {"listen": "0.0.0.0:0"}}, "a Service needs a port that is known"),
    ({"config": {"listen": "0.0.0.0:8002"}}, "config.listen and config.admin have the same port"),
    ({"tls": {"enabled": True}, "config": {"tls": {"certificate": "x.pem"}}}, "config.tls.certificate is given and tls"),
    ({"auth": {"existingSecret": "x"}, "config": {"auth": {"tokens_file": "y"}}}, "config.auth.tokens_file is given"),
    ({"tls": {"clientAuth": "require"}}, "client certificates without TLS"),
    ({"config": {"device": "cuda"}}, "config.device is cuda and no GPU is asked for"),
    ({"gpu": {"count": 2, "resourceName": "nvidia.com/mig-1g.10gb"}}, "of which a process can use one"),
    ({"autoscaling": {"mode": "hpa", "minReplicas": 11}}, "autoscaling.minReplicas 11 is above maxReplicas 10"),
    ({"monitoring": {"serviceMonitor": True, "podMonitor": True}}, "together count everything twice"),
    ({"strategy": {"rollingUpdate": {"maxSurge": 0}}}, "can never finish"),
]
