package netplan_test

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"multinicd/internal/hosttest"
	"multinicd/netplan"
	"multinicd/nic"
	"multinicd/plan"
)

// Any sequence of NICs configured, renumbered and given back: /etc/netplan has one file for each
// that is wanted and nothing else of ours, a NIC that stays is at no step without a file, undone
// steps leave what was there, and the files of others are never touched.
func TestFilesFollowAnySequence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := hosttest.New()
		b := netplan.New(m, m)
		const foreign = "/etc/netplan/50-cloud-init.yaml"
		m.Disk[foreign], m.Modes[foreign] = []byte("\"02:00:00:00:01:01\""), 0o644
		wanted := map[byte]nic.Config{}
		for range rapid.IntRange(1, 8).Draw(t, "actions") {
			n := rapid.SampledFrom([]byte{1, 2, 3}).Draw(t, "NIC")
			a := remove(wanted[n])
			if _, ok := wanted[n]; !ok || rapid.SampledFrom([]bool{true, true, false}).Draw(t, "configure") {
				a = draw(t, n, wanted)
			}
			walk(t, b, m, a, n)
			if delete(wanted, n); a.Kind == plan.Configure {
				wanted[n] = a.NIC
			}
			if rapid.SampledFrom([]bool{true, false}).Draw(t, "boot") {
				boot(m, wanted)
			}
			want := []string{foreign}
			for _, c := range wanted {
				want = append(want, netplan.File(c))
				if !bytes.Equal(m.Disk[netplan.File(c)], netplan.Render(c)) {
					t.Fatalf("%s is not as wanted:\n%s", netplan.File(c), m.Disk[netplan.File(c)])
				}
			}
			slices.Sort(want)
			if got, err := m.Glob("/etc/netplan/*"); err != nil || !slices.Equal(got, want) {
				t.Fatalf("got %v, %v, want %v", got, err, want)
			}
		}
	})
}

// draw wants NIC n with an id that no other has.
func draw(t *rapid.T, n byte, wanted map[byte]nic.Config) plan.Action {
	free := []int{1, 2, 3, 4}
	for o, c := range wanted {
		if o != n {
			free = slices.DeleteFunc(free, func(id int) bool { return id == c.ID })
		}
	}
	c := config(rapid.SampledFrom(free).Draw(t, "id"), rapid.SampledFrom([]string{"192.0.2.7/24", "192.0.2.8/24", "2001:db8::7/64"}).Draw(t, "address"))
	c.MAC[5], c.MTU = n, rapid.SampledFrom([]int{0, 1400}).Draw(t, "mtu")
	return configure(c)
}

// walk does the steps of an action once whole, once undone, and then for good.
func walk(t *rapid.T, b *netplan.Backend, m *hosttest.Machine, a plan.Action, n byte) {
	steps, err := b.Steps(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	before := maps.Clone(m.Disk)
	had := files(m, n) > 0
	do := func(f *plan.File) {
		if f == nil {
			return
		}
		if f.Absent {
			delete(m.Disk, f.Path)
		} else {
			m.Disk[f.Path], m.Modes[f.Path] = f.Data, f.Mode
		}
		if !netplan.OurFile(f.Path) {
			t.Fatalf("%s is not ours", f.Path)
		}
		if had && a.Kind == plan.Configure && files(m, n) == 0 {
			t.Fatalf("NIC %d has no file after %s", n, f.Path)
		}
	}
	for _, s := range steps {
		do(s.Do.File)
	}
	for _, s := range slices.Backward(steps) {
		do(s.Undo.File)
	}
	if !maps.EqualFunc(m.Disk, before, bytes.Equal) {
		t.Fatal("undone, but not as before")
	}
	for _, s := range steps {
		do(s.Do.File)
	}
	if again, err := b.Steps(t.Context(), a); err != nil || len(again) > 0 {
		t.Fatalf("the second time there is still something to do: %v, %v", again, err)
	}
}

// files counts those of ours that name NIC n.
func files(m *hosttest.Machine, n byte) (out int) {
	for name, data := range m.Disk {
		if netplan.OurFile(name) && bytes.Contains(data, []byte(nic.MAC{2, 0, 0, 0, 1, n}.String()+"\"")) {
			out++
		}
	}
	return out
}

// boot does what netplan's generator does, and forgets what lay in /run.
func boot(m *hosttest.Machine, wanted map[byte]nic.Config) {
	maps.DeleteFunc(m.Disk, func(name string, _ []byte) bool { return name[:5] == "/run/" })
	for _, c := range wanted {
		stem := "/run/systemd/network/10-netplan-" + netplan.ID(c)
		m.Disk[stem+".network"] = netplan.Retarget([]byte("[Match]\nPermanentMACAddress="+c.MAC.String()+"\n\n[Network]\n"), c)
		m.Disk[stem+".link"] = netplan.Retarget([]byte("[Match]\nMACAddress="+c.MAC.String()+"\n\n[Link]\nName="+c.Name+"\n"), c)
		m.Modes[stem+".network"], m.Modes[stem+".link"] = 0o640, 0o644
	}
}
