package fault

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"multinicd/internal/apply"
	"multinicd/internal/hosttest"
	"multinicd/netplan"
	"multinicd/nic"
	"multinicd/plan"
)

// fake is multinicd on the machine of internal/hosttest, which fails or ends the process at any operation. internal/apply holds more of it to
// the same promise; here it only tells of each step.
type fake struct {
	*hosttest.Machine
	point string // how far the change has come; a step of a name that came before has "#2" behind it
	seen  map[string]int
}

const fakeState = "/state"

func (f *fake) Before(context.Context, int) func(context.Context) error {
	return func(context.Context) error { return nil }
}

func (f *fake) at(point string) {
	f.seen[point]++
	if f.point = point; f.seen[point] > 1 {
		f.point = fmt.Sprintf("%s#%d", point, f.seen[point])
	}
}

func (f *fake) start(t *testing.T) *apply.Applier {
	t.Helper()
	f.seen = map[string]int{}
	a := &apply.Applier{Backend: netplan.New(f, f), Links: f, Files: f, Probe: f, Log: slog.New(slog.DiscardHandler), Dir: fakeState, Boot: "boot",
		ProbeTimeout: time.Second, VerifyTimeout: time.Second, At: f.at}
	if _, err := a.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

// do makes the wish true, once. After an operation that failed or crashed, point is where that was.
func (f *fake) do(t *testing.T, want []nic.Config) {
	t.Helper()
	defer func() {
		if c := recover(); c != nil {
			if _, ok := c.(hosttest.Crash); !ok {
				panic(c)
			}
		}
	}()
	a := f.start(t)
	now, err := f.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, action := range plan.Make(want, nil, now, a.Record()).Actions {
		a.Do(t.Context(), action)
	}
}

func TestTheFakeMachineAtEveryStep(t *testing.T) {
	one := nic.Config{ID: 1, Name: "multinic1", MAC: nic.MAC{2, 0, 0, 0, 1, 1}, MTU: 1400, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.10/24")},
		Routes: []nic.Route{{To: netip.MustParsePrefix("198.51.100.0/24"), Via: netip.MustParseAddr("192.0.2.1")}}}
	other := one
	other.ID, other.Name, other.MTU = 7, "multinic7", 1300
	other.Routes = []nic.Route{{To: netip.MustParsePrefix("203.0.113.0/24"), Via: netip.MustParseAddr("192.0.2.1")}}
	other.Addresses = []netip.Prefix{netip.MustParsePrefix("192.0.2.11/24")}
	table := newMatrix("fake", "at", "netplan: add, fails", "netplan: add, crashes", "netplan: change, fails", "netplan: change, crashes", "netplan: remove, fails", "netplan: remove, crashes")
	for _, p := range order {
		table.rows, table.cells[rowOf(p)] = append(table.rows, rowOf(p)), map[string]string{}
	}
	for _, o := range []struct {
		name          string
		before, after []nic.Config
	}{{"add", nil, []nic.Config{one}}, {"change", []nic.Config{one}, []nic.Config{other}}, {"remove", []nic.Config{one}, nil}} {
		prepared := func() *fake {
			f := &fake{Machine: hosttest.New(nic.Link{Index: 11, Name: "eth1", MAC: one.MAC, Device: true, MTU: 1500, MaxMTU: 9000, Conf6: &nic.Conf6{AcceptRA: 1}})}
			f.do(t, o.before)
			if o.before != nil {
				for suffix, data := range map[string]string{"network": "[Match]\nName=multinic1\n\n[Network]\nLinkLocalAddressing=no\n", "link": "[Match]\n\n[Link]\nName=multinic1\n"} {
					name := "/run/systemd/network/10-netplan-0-multinic1." + suffix
					f.Disk[name], f.Modes[name] = []byte(data), 0o644
				}
				f.do(t, o.before)
			}
			f.Ops = 0
			return f
		}
		before := prepared().Text(fakeState)
		f := prepared()
		f.do(t, o.after)
		wanted, operations := f.Text(fakeState), f.Ops
		judge := func(f *fake, what, point string) {
			t.Helper()
			row := rowOf(point)
			switch got := f.Text(fakeState); got {
			case before:
				table.set(row, "netplan: "+o.name+", "+what, asBefore)
			case wanted:
				table.set(row, "netplan: "+o.name+", "+what, asWanted)
			default:
				t.Errorf("%s %s at %s: the machine is\n%s", o.name, what, point, got)
			}
		}
		for n := 1; n <= operations; n++ {
			f := prepared()
			f.FailAt = n
			f.do(t, o.after)
			judge(f, "fails", f.point)

			f = prepared()
			f.CrashAt = n
			f.do(t, o.after)
			point := f.point
			f.start(t)
			judge(f, "crashes", point)
		}
	}
	table.publish(t)
}
