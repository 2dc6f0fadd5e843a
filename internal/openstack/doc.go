// Package openstack is the publisher for clusters on OpenStack: the ports of the cluster's instances
// in Neutron become the NICs of its nodes, by internal/publish.
//
// In go Nodes, objects, and what Neutron answers. Out come objects, Events, metrics, and for each
// port that is left out the reason.
//
// The package must not take a NIC away because Neutron did not speak of its port. An answer that is
// empty, cut, refused or too short removes nothing. It deletes no object, and writes to no cloud.
//
// Start reading at Judge, which is pure, as all of port.go, nic.go, node.go and removal.go is; then
// walk.go, which says what of an answer is believed, and Run, which is the loop.
package openstack
