{{- define "raftery.name" -}}
{{- if contains "raftery" .Release.Name -}}
{{- printf "%s-operator" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-raftery-operator" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "raftery.serviceAccount" -}}
{{- default (include "raftery.name" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "raftery.selector" -}}
app.kubernetes.io/name: raftery-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "raftery.labels" -}}
{{ include "raftery.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: raftery
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{/* What the operator may do in the namespaces that it works in. */}}
{{- define "raftery.rules" -}}
- apiGroups: [raftery.dev]
  resources: [raftclusters]
  verbs: [get, list, watch]
- apiGroups: [raftery.dev]
  resources: [raftclusters/status]
  verbs: [get, patch, update]
- apiGroups: [raftery.dev]
  # Owner references that block deletion want it where the admission plugin checks them.
  resources: [raftclusters/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, configmaps]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
