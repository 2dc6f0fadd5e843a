// Package v1 holds the wire types of the API group multinic.io. They say what a publisher wants of
// a node's NICs, what the bridge says about the node, and what the node reports to the bridge.
//
// In go YAML or JSON of MultiNicNodeConfig, MultiNicBizConfig and Report. Out come values; where a
// value is refused, Validate and ParseReport say why. The CustomResourceDefinitions under
// charts/multinic/files/crds are generated from these types and their markers: `make generate`.
//
// The package does no I/O and keeps no state. It imports nothing but apimachinery's meta types,
// because the daemon on the node links this package too. Version v1alpha1 of the API has the same
// schema; these types serve both versions.
//
// Start reading at MultiNicNodeConfigSpec, then Report.
//
// +kubebuilder:object:generate=true
// +groupName=multinic.io
package v1
