package controlplane

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestWhichProgramsAreBuilt(t *testing.T) {
	const whole = "controlplane-v1.2.3-0123456789ab"
	for name, test := range map[string]struct {
		withControllers, wholeIsThere bool
		want                          string
		wantPrograms                  int
	}{
		"a cluster with controllers has all five":                  {withControllers: true, want: whole, wantPrograms: 5},
		"a cluster without builds three, under another name":       {want: "apiserver-v1.2.3-0123456789ab", wantPrograms: 3},
		"a cluster without takes the whole one where that is made": {wholeIsThere: true, want: whole, wantPrograms: 5},
	} {
		t.Run(name, func(t *testing.T) {
			cache := t.TempDir()
			if test.wholeIsThere {
				if err := os.Mkdir(filepath.Join(cache, whole), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			got, programs, err := choose(cache, whole, test.withControllers)
			if err != nil || got != test.want || len(programs) != test.wantPrograms {
				t.Errorf("got %s with %d programs, %v, want %s with %d", got, len(programs), err, test.want, test.wantPrograms)
			}
			scheduler := slices.ContainsFunc(programs, func(c component) bool { return c.name == "kube-scheduler" })
			if scheduler != (test.wantPrograms == 5) {
				t.Errorf("got the scheduler built: %v", scheduler)
			}
		})
	}
}
