// Package e2e walks the main job on real hosts and a real control plane: an object, or a file, becomes configured NICs that outlive a boot.
//
// In go the commands of the repository, built as they are; out come only yes or no. Nothing here is a fake.
//
// It must not reach into the product: what it checks is what a user sees with ip, kubectl and the product's own commands.
//
// Start reading at node_test.go and cluster_test.go, which say in one line what each test needs.
package e2e
