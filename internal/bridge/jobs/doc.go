// Package jobs has a Job do the work on nodes where no daemon lives.
//
// In go the object, the report, the Lease and the Jobs of a node. Out come a Job that is
// made, or one that is ended.
//
// The package makes no Job unless the admission policies of Jobs are in force, and never
// two of one node that could run side by side. Every Job has the form that deploy/jobs.yaml
// allows, and no other.
//
// Start reading at Judge, which is pure; then manifest.go; then Loop.
package jobs
