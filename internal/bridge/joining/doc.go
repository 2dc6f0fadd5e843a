// Package joining answers the requests of machines for their first token.
//
// In go a NodeTokenRequest and what the cluster knows of the node. Out come a token that is
// sealed to the key of the request, or the reason of a refusal; and Events about both.
//
// The package seals no token unless the admission policies are in force, and none to a key
// that a token was sealed to before. It makes no identity: it asks for one, by the
// interface Identities.
//
// Start reading at Judge, which is pure; then Loop.
package joining
