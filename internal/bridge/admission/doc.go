// Package admission tells whether admission policies are in force.
//
// In goes a manifest of deploy/. Out comes nil, or the first policy or binding that is not
// in the cluster word for word, or does not refuse a request that it must refuse.
//
// The package writes nothing but Events: each probe is a dry run. An API server that does
// not answer has not said that the policies are in force.
//
// Start reading at PolicyGuard.InForce.
package admission
