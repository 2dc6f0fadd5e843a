// Package rollout brakes changes of many nodes, so that a bad change stops early.
//
// In go all objects with their statuses. Out come the objects that are released; the status loop is
// woken for them. Out come also Events about a rollout that stops, or a node that is stuck.
//
// The package writes no object and keeps no count of its own. What it must remember is in the
// objects, so that another bridge can continue where this one ended.
//
// Start reading at Judge, which is pure; then Loop.
package rollout
