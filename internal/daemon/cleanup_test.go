package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/apply"
	"multinicd/internal/daemon/asked"
	"multinicd/internal/daemon/status"
	"multinicd/internal/terminal/layout"
	"multinicd/nic"
)

// left lists the files of the fake host that are not the state folder's.
func (w *world) left() string {
	var out []string
	for _, f := range slices.Sorted(maps.Keys(w.machine.Disk)) {
		if !strings.HasPrefix(f, "/state/") {
			out = append(out, f)
		}
	}
	return strings.Join(out, " ")
}

func TestACleanupGivesEverythingBackUntilTheDaemonStartsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24", "198.51.100.1/24")})
		r := w.daemon.ask(context.Background(), AskCleanup)
		if r.Error != "" || len(r.Given) != 2 || r.Given[0].Outcome != apply.Done || len(r.Given[0].Files) != 1 || !slices.Contains(r.Given[0].Change, "~ name multinic1 -> eth1") {
			t.Errorf("the reply is %+v", r)
		}
		w.machine.Ops = 0
		w.wake <- struct{}{}
		sleep(time.Second)
		w.tell(asked.Wish{Object: object("u1", 2, "192.0.2.9/24")})
		sleep(time.Hour)
		w.want("")
		if w.left() != "" || w.machine.Net[0].Name != "eth1" || w.machine.Net[0].Up || w.machine.Ops != 0 {
			t.Errorf("left: %q %+v after %d operations", w.left(), w.machine.Net, w.machine.Ops)
		}
		if r := w.lastReport(); r.Phase != v1.PhaseRemoved || r.Generation != 2 || r.Degraded == nil || r.Degraded.Reason != v1.ReasonRemoved {
			t.Errorf("the report says %+v", r)
		}
		if r := w.daemon.ask(context.Background(), AskCleanup); r.Error != "" || len(r.Given) != 0 {
			t.Errorf("a second time: %+v", r)
		}
		stop()
		stop = w.start()
		w.want("multinic1 192.0.2.9/24")
		stop()
	})
}

func TestACleanupWithoutTheRecordGoesByTheFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24", "198.51.100.1/24")})
		stop()
		delete(w.machine.Disk, "/state/record.json")
		w.machine.Disk["/etc/netplan/90-multinic7.yaml"] = []byte("network: {ethernets: {multinic7: {match: {macaddress: \"02:00:00:00:01:07\"}}}}\n") // not of our making
		w.start()()                                                                                                                                    // makes a daemon
		delete(w.machine.Disk, "/state/record.json")
		status, given, err := w.daemon.Cleanup(t.Context())
		if err != nil || len(given) != 2 || status.State != string(v1.PhaseRemoved) {
			t.Errorf("got %+v %+v %v", status, given, err)
		}
		w.want("")
		if w.left() != "/etc/netplan/90-multinic7.yaml" {
			t.Errorf("left: %s", w.left())
		}
	})
}

func TestACleanupThatFailsSaysSoAndIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.start()()
		w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
		w.machine.Disk["/etc/netplan/50.yaml"] = []byte("network: {}\n") // of others, and new: netplan is asked
		w.machine.Refuse = context.DeadlineExceeded
		r := w.daemon.ask(context.Background(), AskCleanup)
		if len(r.Given) != 1 || r.Given[0].Reason != v1.ReasonValidationFailed || len(r.Status.NICs) != 1 || r.Status.NICs[0].Outcome != apply.RolledBack {
			t.Errorf("the reply is %+v", r)
		}
		if text := layout.Unmarked(status.GivenText(r.Given, layout.Page{})); !strings.Contains(text, "RolledBack, ValidationFailed") {
			t.Errorf("the text is %s", text)
		}
		w.want("multinic1 192.0.2.1/24")
		w.machine.Refuse = nil
		w.wake <- struct{}{}
		sleep(time.Minute)
		w.want("")
		if r := w.lastReport(); r.Phase != v1.PhaseRemoved {
			t.Errorf("the report says %+v", r)
		}
	})
}

// Nothing is done while the machine cannot be read, and that is no "nothing to give back"; nor is what an earlier pass gave back the answer.
func TestACommandSaysThatTheMachineCannotBeRead(t *testing.T) {
	const one, two = "192.0.2.1/24", "198.51.100.1/24"
	for request, want := range map[string]string{AskCleanup: "", AskRollback: "multinic1 " + one + ", multinic2 " + two} {
		t.Run(request, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				stop := w.start()
				w.tell(asked.Wish{Object: object("u1", 1, one, two)})
				w.tell(asked.Wish{Object: object("u1", 2, one)})
				w.dark.Store(true)
				if r := w.daemon.ask(t.Context(), request); r.Error != askBlind+"the dump was torn" || len(r.Given) > 0 {
					t.Errorf("the reply is %+v", r)
				}
				w.want("multinic1 " + one)
				w.dark.Store(false)
				sleep(time.Minute)
				w.want(want)
				stop()
			})
		})
	}
}

func TestWhoWorksOnceSaysThatTheMachineCannotBeRead(t *testing.T) {
	for name, do := range map[string]func(d *Daemon) error{
		"apply": func(d *Daemon) error {
			_, err := d.Once(context.Background(), asked.Wish{Object: object("u1", 3, "192.0.2.3/24")})
			return err
		},
		"rollback": func(d *Daemon) error { _, err := d.Rollback(context.Background(), true); return err },
		"cleanup":  func(d *Daemon) error { _, _, err := d.Cleanup(context.Background()); return err },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				stop := w.start()
				w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
				w.tell(asked.Wish{Object: object("u1", 2, "192.0.2.2/24")})
				stop()
				w.start()() // makes a daemon
				w.dark.Store(true)
				if err := do(w.daemon); err == nil || err.Error() != "the dump was torn" {
					t.Errorf("it says %v", err)
				}
			})
		})
	}
}

func TestACleanupSaysWhyALinkIsNotTouched(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(w *world)
		says   string
	}{
		{"the node has come to live by it", func(w *world) {
			w.machine.Net[0].Routes = append(w.machine.Net[0].Routes, nic.Route{To: netip.MustParsePrefix("0.0.0.0/0")})
		}, "link multinic1 has the default route of IPv4 that counts"},
		{"it is part of a bridge by now", func(w *world) { w.machine.Net[0].Master = 99 }, "link multinic1 is part of a bond, bridge or VRF"},
		{"its kind is none that counts", func(w *world) { w.machine.Net[0].Kind = "veth" }, "link multinic1 is virtual (kind \"veth\"), no NIC"},
		{"another has its MAC", func(w *world) { w.machine.Net[1].MAC, w.machine.Net[1].Permanent = w.machine.Net[0].MAC, nic.MAC{} }, "2 links have MAC"},
		{"it was unplugged", func(w *world) { w.machine.Net = w.machine.Net[1:] }, "no NIC with MAC 02:00:00:00:01:01 is plugged in"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer w.start()()
				w.tell(asked.Wish{Object: object("u1", 1, "192.0.2.1/24")})
				row.change(w)
				before := fmt.Sprintf("%+v", w.machine.Net)
				r := w.daemon.ask(context.Background(), AskCleanup)
				text := layout.Unmarked(status.GivenText(r.Given, layout.Page{}))
				if len(r.Given) != 1 || !strings.Contains(text, "forgotten, and the link is not touched: "+row.says) || strings.Contains(text, "given back") || w.left() != "" {
					t.Errorf("it says %s, left %s", text, w.left())
				}
				if after := fmt.Sprintf("%+v", w.machine.Net); after != before {
					t.Errorf("links are\n%s\nwere\n%s", after, before)
				}
			})
		})
	}
}

func TestADeletedObjectSaysWhatBecameOfItsNICs(t *testing.T) {
	for name, row := range map[string]struct {
		onDelete string
		cidrs    []string
		says     string
	}{
		"two are kept":   {"retain", []string{"192.0.2.1/24", "198.51.100.1/24"}, "the object was deleted; 2 NICs are kept as they are (on_delete = retain): `multinicd cleanup` gives them back"},
		"one is kept":    {"retain", []string{"192.0.2.1/24"}, "the object was deleted; 1 NIC is kept as it is (on_delete = retain): `multinicd cleanup` gives it back"},
		"there was none": {"retain", nil, "the object was deleted; no NIC here is multinicd's"},
		"given back":     {"restore", []string{"192.0.2.1/24"}, "the object was deleted, and its NICs are given back (on_delete = restore)"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				var journal strings.Builder
				w.with = func(d *Daemon) { d.Log = slog.New(slog.NewTextHandler(&journal, nil)) }
				w.start()()
				w.daemon.OnDelete = row.onDelete
				defer w.start()()
				w.tell(asked.Wish{Object: object("u1", 1, row.cidrs...)})
				w.tell(asked.Wish{Gone: true})
				sleep(time.Hour)
				line := fmt.Sprintf("msg=%q node=n1 on_delete=%s message=%q\n", "the object of this node is deleted", row.onDelete, row.says)
				if got := journal.String(); strings.Count(got, line) != 1 || strings.Count(got, "is deleted") != 1 {
					t.Errorf("the journal is\n%swant once %s", got, line)
				}
				if s := w.daemon.Status(); !strings.HasPrefix(w.line, row.says) || strings.Count(whole(s), row.says) != 1 {
					t.Errorf("it says %q, want %q:\n%s", w.line, row.says, whole(s))
				}
				f, err := w.daemon.Preview(t.Context(), asked.Wish{Gone: true})
				if err != nil || f.Note != row.says || len(f.Plan.Actions) != 0 {
					t.Errorf("plan says %+v %v", f, err)
				}
			})
		})
	}
}
