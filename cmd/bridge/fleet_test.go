package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "multinicd/api/v1"
)

func TestFleetTakesStatesInAnyCase(t *testing.T) {
	got, err := parseStates([]string{"failed", "INPROGRESS", "Pending"})
	if diff := cmp.Diff([]v1.State{v1.StateFailed, v1.StateInProgress, v1.StatePending}, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if _, err := parseStates([]string{"fail"}); err == nil {
		t.Error("fail is taken for a state")
	}
}
