// Package preflight says what in a cluster would hurt when nodes go over to the product, from the
// field's agent or from the older object.
//
// In goes a cluster that is only read, by Look; out come Findings, each with what to do about it, in
// the order in which it is best done.
//
// It must change nothing, and read no Secret: a Helm release is known by what it wrote into the
// metadata of its objects.
//
// Start reading at Judge, which is pure. docs/migration.md has a row for each id.
package preflight
