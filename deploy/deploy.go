// Package deploy holds the manifests of the cluster's side, and gives the bridge
// those that it compares with the cluster.
//
// In goes nothing; out comes the text of admission.yaml, jobs.yaml and
// nodelabel.yaml, as they are applied.
//
// It must not hold a second copy of anything: who applies a file of this folder
// and who runs the bridge of the same version speak of the same bytes.
//
// Start reading at admission.yaml.
package deploy

import _ "embed"

// Admission is admission.yaml: YAML documents, those of kinds
// ValidatingAdmissionPolicy and ValidatingAdmissionPolicyBinding among them.
//
//go:embed admission.yaml
var Admission string

// Jobs is jobs.yaml, likewise: what the bridge needs beyond where it may make
// Jobs.
//
//go:embed jobs.yaml
var Jobs string

// NodeLabel is nodelabel.yaml, likewise: what the bridge needs beyond where it
// labels Nodes.
//
//go:embed nodelabel.yaml
var NodeLabel string
