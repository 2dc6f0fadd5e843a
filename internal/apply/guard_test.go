package apply_test

import (
	"context"
	"slices"
	"testing"

	"multinicd/internal/apply"
	"multinicd/internal/hosttest"
	"multinicd/nic"
	"multinicd/plan"
)

// looking notes what a machine is looked at for.
type looking struct {
	*hosttest.Machine
	all int   // for all links
	at  []int // for one
}

func (l *looking) Look(ctx context.Context) (plan.View, error) {
	l.all++
	return l.Machine.Look(ctx)
}

func (l *looking) LookAt(ctx context.Context, index int) (plan.View, error) {
	l.at = append(l.at, index)
	return l.Machine.LookAt(ctx, index)
}

// Who claims the other links is no question of a change: with thirty NICs it would be most of what a
// try costs.
func TestAChangeLooksAtItsOwnLink(t *testing.T) {
	m := hosttest.New(link(1), link(2))
	a := start(t, m, "boot-1")
	l := &looking{Machine: m}
	a.Links = l
	now, _ := m.Look(t.Context())
	for _, action := range plan.Make([]nic.Config{config(2, "192.0.2.12/24")}, nil, now, a.Record()).Actions {
		if res := a.Do(t.Context(), action); res.Outcome != apply.Done {
			t.Fatal(res.Err)
		}
	}
	if want := link(2).Index; l.all != 0 || !slices.Equal(l.at, []int{want}) {
		t.Errorf("it looked %d times at all, and at %v, want once at %d", l.all, l.at, want)
	}
}
