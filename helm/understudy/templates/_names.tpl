{{/* The release's name, whole: at most 53 characters (Helm), and so no two releases have an object in common. */}}
{{- define "understudy.name" -}}
{{- .Release.Name -}}
{{- end -}}

{{/* The operator's Deployment, Service and the like. */}}
{{- define "understudy.operator" -}}
{{- printf "%s-operator" (include "understudy.name" .) -}}
{{- end -}}

{{/* What never changes: selectors are made of it. */}}
{{- define "understudy.selector" -}}
app.kubernetes.io/name: understudy
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "understudy.labels" -}}
{{ include "understudy.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "understudy.account" -}}
{{- .Values.serviceAccount.name | default (include "understudy.operator" .) -}}
{{- end -}}

{{/* An image by digest, else by an exact tag. */}}
{{- define "understudy.image" -}}
{{- $image := .image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .version }}
{{- end -}}
{{- end -}}

{{/* PriorityClasses: those that are named, else those that are made, else none. The cluster has one set of them: a namespace
has no dot in its name, so two releases never come to the same. */}}
{{- define "understudy.priority" -}}
{{- $named := get .root.Values.priorityClasses .of -}}
{{- if $named -}}{{ $named }}{{- else if .root.Values.priorityClasses.create -}}
{{ printf "%s.%s.%s" .root.Release.Namespace (include "understudy.name" .root) .of }}
{{- end -}}
{{- end -}}
