{{/* What the objects of one of the bridge's duties are found by; for all that there is once, by "multinic-bridge". */}}
{{- define "multinic.labels" -}}
app.kubernetes.io/name: {{ . }}
app.kubernetes.io/part-of: multinic
{{- end -}}

{{/* The same of the HTTP door's. */}}
{{- define "multinic.intakeLabels" -}}
app.kubernetes.io/name: multinic-intake
app.kubernetes.io/part-of: multinic
{{- end -}}

{{/* The same of the publisher for OpenStack. */}}
{{- define "multinic.openstackLabels" -}}
app.kubernetes.io/name: multinic-openstack
app.kubernetes.io/part-of: multinic
{{- end -}}

{{/* The same of the publisher of the older object. */}}
{{- define "multinic.legacyLabels" -}}
app.kubernetes.io/name: multinic-legacy
app.kubernetes.io/part-of: multinic
{{- end -}}

{{/* An image's whole name; the tag is the chart's own version, unless a digest or another tag is given. */}}
{{- define "multinic.image" -}}
{{- $tag := default .chart.AppVersion .image.tag -}}
{{- if .image.digest -}}
{{ .image.registry }}/{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.registry }}/{{ .image.repository }}:{{ $tag }}
{{- end -}}
{{- end -}}

{{/* Where Pods run: on the control plane, and each replica on a machine of its own if possible. .values is the part of the
values, .labels find the Pods. */}}
{{- define "multinic.placement" -}}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if or .values.controlPlane .values.tolerations }}
tolerations:
  {{- if .values.controlPlane }}
  - {key: node-role.kubernetes.io/control-plane, operator: Exists}
  - {key: node-role.kubernetes.io/etcd, operator: Exists} # RKE2
  - {key: CriticalAddonsOnly, operator: Exists} # k3s
  {{- end }}
  {{- with .values.tolerations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
affinity:
  {{- if and .values.controlPlane (not .values.affinity.nodeAffinity) }}
  # By the label's name alone: its value is "" with kubeadm, and "true" with k3s and RKE2.
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
      - matchExpressions:
        - {key: node-role.kubernetes.io/control-plane, operator: Exists}
  {{- end }}
  {{- if not .values.affinity.podAntiAffinity }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- .labels | nindent 12 }}
  {{- end }}
  {{- with .values.affinity }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
