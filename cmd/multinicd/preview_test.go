package main

import (
	"testing"

	"multinicd/internal/daemon"
	"multinicd/plan"
)

// A pipeline that plans first wants to know by the code what apply would end with.
func TestAPlanEndsAsApplyWould(t *testing.T) {
	does := func(kinds ...plan.Kind) preview {
		var p preview
		for _, k := range kinds {
			p.NICs = append(p.NICs, nicPreview{Action: string(k)})
		}
		return p
	}
	for name, row := range map[string]struct {
		preview preview
		f       daemon.Foreseen
		want    int
	}{
		"nothing is wanted":                   {preview{}, daemon.Foreseen{}, exitDone},
		"all can be done":                     {does(plan.Configure, plan.Remove), daemon.Foreseen{}, exitDone},
		"one waits":                           {does(plan.Configure, plan.Wait), daemon.Foreseen{}, exitWaiting},
		"one is refused":                      {does(plan.Configure, plan.Refuse), daemon.Foreseen{}, exitRefused},
		"one waits, and one is refused":       {does(plan.Wait, plan.Refuse), daemon.Foreseen{}, exitRefused},
		"the whole object is refused":         {preview{Refused: "IdentityMismatch: another machine"}, daemon.Foreseen{}, exitRefused},
		"the object is held back by hand":     {does(plan.Configure), daemon.Foreseen{Held: true}, exitRefused},
		"the object waits for its release":    {does(plan.Configure), daemon.Foreseen{Unreleased: true}, exitWaiting},
		"it waits, and the old one is broken": {does(plan.Refuse), daemon.Foreseen{Unreleased: true}, exitRefused},
	} {
		t.Run(name, func(t *testing.T) {
			if got := row.preview.exitCode(row.f); got != row.want {
				t.Errorf("got %d, want %d", got, row.want)
			}
		})
	}
}
