package daemon

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/daemon/asked"
)

// What `multinicd plan` says of the newest object is what the daemon's status says.
func TestAPlanTakesTheObjectAsAPassDoes(t *testing.T) {
	first, second, third := object("u1", 1, "192.0.2.1/24"), object("u1", 2, "192.0.2.2/24"), object("u1", 3, "192.0.2.3/24")
	for name, row := range map[string]struct {
		tell    []asked.Wish
		back    bool // then it is rolled back by hand
		then    []asked.Wish
		mode    asked.Mode
		note    string
		actions int
	}{
		"an object": {tell: []asked.Wish{{Object: first}}, mode: asked.ModeObject, actions: 1},
		"one that was rolled back": {tell: []asked.Wish{{Object: first}, {Object: second}}, back: true, mode: asked.ModeHeld,
			note: "generation 2 is held back: ", actions: 1},
		"one that waits, behind one that was rolled back": {tell: []asked.Wish{{Object: first}, {Object: second}}, back: true, then: []asked.Wish{released(third, 2, 3)},
			mode: asked.ModeUnreleased, note: "generation 3 waits: ", actions: 1},
		"the first object, which waits": {tell: []asked.Wish{released(first, -1, 1)}, mode: asked.ModeUnreleased, note: "generation 1 waits: "},
		"one that waits behind another": {tell: []asked.Wish{{Object: first}, released(second, 1, 2)}, mode: asked.ModeUnreleased, note: "generation 2 waits: ", actions: 1},
		"one that cannot be read": {tell: []asked.Wish{{Object: first}, {Unread: &asked.Unread{UID: "u1", Generation: 2, Message: "spec.x is odd"}}}, mode: asked.ModeUnread,
			note: "generation 2 cannot be read: spec.x is odd", actions: 1},
		"one that was deleted":    {tell: []asked.Wish{{Object: first}, {Gone: true}}, mode: asked.ModeGone, note: "the object was deleted; "},
		"one that nobody knows":   {tell: []asked.Wish{{}}, mode: asked.ModeUnknown},
		"one whose NICs all went": {tell: []asked.Wish{{Object: first}, ask(first, "r1", v1.ActionCleanup)}, mode: asked.ModeCleaned},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				stop := w.start()
				defer stop()
				for _, wish := range row.tell {
					w.tell(wish)
				}
				if row.back {
					if r := w.daemon.ask(t.Context(), AskRollback); r.Error != "" {
						t.Fatal(r.Error)
					}
				}
				for _, wish := range row.then {
					w.tell(wish)
				}
				stop()
				said := w.daemon.Status()
				d := &Daemon{Wiring: w.daemon.Wiring}
				d.setUp()
				known, err := store{d.Files, d.Dir}.loadWish()
				if err != nil {
					t.Fatal(err)
				}
				f, err := d.foresee(t.Context(), known)
				if err != nil {
					t.Fatal(err)
				}
				if f.Mode != row.mode || !strings.HasPrefix(f.Note, row.note) || (row.note == "") != (f.Note == "") || len(f.Plan.Actions) != row.actions {
					t.Errorf("mode %d, %q, %d actions, want %d, %q, %d", f.Mode, f.Note, len(f.Plan.Actions), row.mode, row.note, row.actions)
				}
				if row.note != "" && !strings.HasPrefix(said.Message, row.note) {
					t.Errorf("the status says %q", said.Message)
				}
			})
		})
	}
}

// A change is the newest object's own: what became of it while another one waited, or nothing was to be changed, tells nothing of it.
func TestOnlyTheObjectsOwnChangeIsCounted(t *testing.T) {
	obj := object("u1", 1, "192.0.2.1/24")
	for name, row := range map[string]struct {
		wish asked.Wish
		want int64
	}{
		"an object":                           {asked.Wish{Object: obj}, 1},
		"nothing is known of any":             {asked.Wish{}, 0},
		"it was deleted":                      {asked.Wish{Gone: true}, 0},
		"it was rolled back":                  {asked.Wish{Object: obj, Held: true, Before: obj}, 0},
		"its NICs were given back by a run":   {asked.Wish{Object: obj, Cleaned: true}, 0},
		"its NICs were given back by hand":    {asked.Wish{Object: obj, Left: true}, 0},
		"a newer one waits for its release":   {asked.Wish{Object: obj, Unreleased: object("u1", 2)}, 0},
		"a newer one cannot be read":          {asked.Wish{Object: obj, Unread: &asked.Unread{UID: "u1", Generation: 2}}, 0},
		"the daemon has known it for a while": {asked.Wish{Object: obj, Told: time.Unix(1, 0)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			d := &Daemon{}
			d.own.counted = time.Unix(1, 0)
			if row.wish.Told.IsZero() {
				row.wish.Told = time.Unix(2, 0)
			}
			d.countChange(row.wish, string(v1.StateConfigured))
			if got := d.state.meters.Changes["configured"]; got != row.want {
				t.Errorf("%d changes are counted, want %d", got, row.want)
			}
		})
	}
}
