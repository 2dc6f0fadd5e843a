// Package jobs makes Jobs that do the work on nodes where no daemon lives.
//
// In go the object, the report, the Lease and the Jobs of a node. Out comes a Job to make, or a Job
// to end.
//
// The package makes no Job unless the admission policies of Jobs are in force. It never makes two
// Jobs of one node that could run at the same time. Every Job has exactly the form that
// deploy/jobs.yaml allows.
//
// Start reading at Judge, which is pure; then manifest.go; then Loop.
package jobs
