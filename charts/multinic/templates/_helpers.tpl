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

{{/* An image's whole name; the tag is the chart's own version, unless a digest or another tag is given. */}}
{{- define "multinic.image" -}}
{{- $tag := default .chart.AppVersion .image.tag -}}
{{- if .image.digest -}}
{{ .image.registry }}/{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.registry }}/{{ .image.repository }}:{{ $tag }}
{{- end -}}
{{- end -}}
