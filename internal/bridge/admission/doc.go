// Package admission says whether admission policies are in force.
//
// In goes a manifest of deploy/. Out comes nil, or the first policy or binding that is not in the
// cluster word for word, or does not refuse a request that it must refuse.
//
// The package writes nothing except Events: each probe is a dry run. If an API server does not
// answer, the policies do not count as in force.
//
// Start reading at PolicyGuard.InForce.
package admission
