// Package joining answers the requests of machines for their first token.
//
// In go a NodeTokenRequest, and what the cluster knows of the node. Out comes a token that is
// sealed to the key of the request, or the reason of a refusal. There are Events about both.
//
// The package seals no token unless the admission policies are in force, and never seals two tokens
// to one key. It makes no identity itself: it asks for one, by the interface Identities.
//
// Start reading at Judge, which is pure; then Loop.
package joining
