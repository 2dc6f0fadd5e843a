// Package v1 holds the wire types of the API group multinic.io: what a
// publisher wants of a node's NICs, what the bridge says about it, and the
// report with which a node tells the bridge.
//
// In go YAML or JSON of MultiNicNodeConfig, MultiNicBizConfig and Report; out
// come values, and from Validate and ParseReport the reasons why a
// value is refused. The CustomResourceDefinitions under charts/multinic/files/crds
// are generated from these types and their markers: `make generate`.
//
// It does no I/O, keeps no state, and imports nothing but apimachinery's meta
// types, for the daemon on the node links it too. Version v1alpha1 of the API
// has the same schema; these types serve both.
//
// Start reading at MultiNicNodeConfigSpec, then Report.
//
// +kubebuilder:object:generate=true
// +groupName=multinic.io
package v1
