// Package deploy holds the manifests of the cluster's side. From here the bridge has the manifests
// that it compares with the cluster.
//
// Nothing goes in; out comes the text of those with policies that somebody looks at, as they are
// applied.
//
// The other files are for kubectl alone.
//
// It must not hold a second copy of anything. An administrator who applies a file of this folder,
// and a bridge of the same version, then use the same bytes.
//
// Start reading at admission.yaml.
package deploy

import _ "embed"

// Admission is the text of admission.yaml: several YAML documents. The bridge reads those of the
// kinds ValidatingAdmissionPolicy and ValidatingAdmissionPolicyBinding.
//
//go:embed admission.yaml
var Admission string

// NodeLabel is the text of nodelabel.yaml: what the bridge needs in addition if it labels Nodes.
//
//go:embed nodelabel.yaml
var NodeLabel string

// Legacy is the text of legacy.yaml, and LegacyReadOnly that of legacy-readonly.yaml: the publisher of
// the older object looks whether their policies are in force.
var (
	//go:embed legacy.yaml
	Legacy string
	//go:embed legacy-readonly.yaml
	LegacyReadOnly string
)
