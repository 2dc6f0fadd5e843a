// Package rollout holds back changes of many nodes, so that a bad change stops early.
//
// In go all objects with their statuses. Out come the objects that are released, which
// the status loop is woken for, and Events about a rollout that stops or a node that is
// stuck.
//
// The package writes no object, and counts in no place of its own: what it must remember
// stands in the objects, so that another bridge goes on where this one ended.
//
// Start reading at Judge, which is pure; then Loop.
package rollout
