package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multinicd/test/bed"
	"multinicd/test/bed/installed"
	"multinicd/test/bed/monitor"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/testhost"
)

// As many NICs as an object may name. The first ones share a subnet, so that tables, rules and sysctls come and go too.
const (
	most    = 64
	sharing = 6
)

func stormMAC(id int) string { return fmt.Sprintf("02:00:00:00:05:%02x", id) }

// stormAddress is that of a NIC in the object, and how the link has it.
func stormAddress(id int) (cidr, on string) {
	if id <= sharing {
		return fmt.Sprintf("10.65.0.%d/24", 10+id), fmt.Sprintf("10.65.0.%d/32", 10+id)
	}
	cidr = fmt.Sprintf("10.64.%d.10/24", id)
	return cidr, cidr
}

// NICs that come all at once, and NICs that come and go at random, under other names, and two of one MAC.
func TestManyNICsComeAndGo(t *testing.T) {
	onKinds(t, both(netplan12), comeAndGo)
}

func comeAndGo(t *testing.T, k kind) {
	storm := 10 * time.Second
	if len(prerequisite.Long(k)) > 0 {
		storm = time.Minute
	}
	n := kindNode(t, bed.New(t), k, []testhost.NIC{}...)
	if k.cloud && k.flavour == testhost.Networkd {
		n.keepForeign()
	}
	n.must("sh", "-ec", testhost.Bystanders)
	var wish []string
	for id := 1; id <= most; id++ {
		cidr, _ := stormAddress(id)
		wish = append(wish, nicYAML(id, stormMAC(id), cidr))
	}
	empty := n.everything() // of the host without a NIC
	n.start(nodeObject(wish...))
	n.wantNICs(stormStatus(nil))
	n.quiet()
	kernel, err := n.MonitorKernel()
	if err != nil {
		t.Fatal(err)
	}
	defer kernel.Stop()

	plugged, used := map[int]time.Time{}, n.cpu()
	begin := time.Now()
	for id := 1; id <= most; id++ {
		plugged[id] = time.Now()
		if err := n.Plug(testhost.NIC{MAC: stormMAC(id)}); err != nil {
			t.Fatal(err)
		}
	}
	all := time.Since(begin)
	n.wantNICs(stormStatus(plugged))
	took := time.Since(begin)
	n.wantStorm(plugged)
	events, err := kernel.Events()
	if err != nil {
		t.Fatal(err)
	}
	var waits []time.Duration
	for id, at := range plugged {
		cidr, _ := stormAddress(id)
		host, _, _ := strings.Cut(cidr, "/")
		i := slices.IndexFunc(events, func(e monitor.Event) bool {
			return e.What == "address" && !e.Gone && e.Link == fmt.Sprintf("multinic%d", id) && strings.HasPrefix(e.Text, host+"/")
		})
		if i < 0 {
			t.Fatalf("the kernel has not announced %s", cidr)
		}
		waits = append(waits, events[i].Time.Sub(at))
	}
	slices.Sort(waits)
	t.Logf("%d NICs plugged in within %s: each had its address %s (first), %s (median), %s (last) after it came; all Configured after %s; the daemon took %s of a processor", most, all.Round(time.Millisecond),
		waits[0].Round(time.Millisecond), waits[most/2].Round(time.Millisecond), waits[most-1].Round(time.Millisecond), took.Round(time.Millisecond), n.cpu()-used)

	n.quiet()
	all64 := n.everything
	if k.cloud && k.flavour == testhost.Networkd {
		all64 = func() string { return whoeverMadeIt(n.everything()) }
	}
	full, begun := all64(), n.resources()
	n.shake(plugged, storm)
	n.wantNICs(stormStatus(plugged))
	n.wantStorm(plugged)
	for id := 1; id <= most; id++ {
		if plugged[id].IsZero() {
			plugged[id] = time.Now()
			if err := n.Plug(testhost.NIC{MAC: stormMAC(id)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	n.wantNICs(stormStatus(plugged))
	n.wantEverything(full, all64)
	n.wantStorm(plugged)
	n.wantResources(begun)

	// Given back, nothing of them is left.
	n.file(objectFile, nodeObject())
	n.wantNICs("")
	n.wantEverything(empty, n.everything)
	n.wantResources(begun)
	if events, err = kernel.Events(); err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		stem := strings.TrimRight(e.Link, "0123456789")
		ours := e.What == "rule" && strings.HasPrefix(e.Text, "priority 2000") || e.Link != "eth0" && e.Link != "ens3" && slices.Contains([]string{"eth", "ens", "enp", "enx", "multinic", "mnic-way"}, stem)
		if !ours {
			t.Errorf("something else was touched: %s", e)
		}
	}
}

// stormStatus is what the daemon says of all NICs where these are plugged in.
func stormStatus(plugged map[int]time.Time) string {
	var out []string
	for id := 1; id <= most; id++ {
		state := "Pending WaitingForNIC"
		if !plugged[id].IsZero() {
			state = "Configured Configured"
		}
		out = append(out, fmt.Sprintf("multinic%d %s", id, state))
	}
	return strings.Join(out, ", ")
}

// wantStorm waits until each NIC that is plugged in has its name and its address, and there are no other links of a MAC of ours.
func (n *node) wantStorm(plugged map[int]time.Time) {
	n.t.Helper()
	want := map[string]string{}
	for id := range plugged {
		_, on := stormAddress(id)
		want[fmt.Sprintf("multinic%d", id)] = fmt.Sprintf("%s multinic%d up mtu 1500 %s", stormMAC(id), id, on)
	}
	n.eventually("the links", "", func() string { return cmp.Diff(want, n.stormLinks()) })
}

// stormLinks is each link with a MAC of ours, by name.
func (n *node) stormLinks() map[string]string {
	var links []installed.Link
	if err := json.Unmarshal([]byte(n.must("ip", "-json", "address")), &links); err != nil {
		n.t.Fatal(err)
	}
	out := map[string]string{}
	for _, l := range links {
		if strings.HasPrefix(l.MAC, "02:00:00:00:05:") {
			out[l.Name] = l.MAC + " " + l.String()
		}
	}
	return out
}

// shake plugs and unplugs at random for a time, and keeps plugged up to date. At its end no MAC is there twice.
func (n *node) shake(plugged map[int]time.Time, storm time.Duration) {
	n.t.Helper()
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	n.t.Logf("seed %d", seed)
	const among = 16
	copies, counts, last := map[int]bool{}, map[string]int{}, 100 // no name is that of the primary NIC, ens3
	plug := func(id int, name string) {
		n.t.Helper()
		last++
		if name != "" {
			name += strconv.Itoa(last)
		}
		if err := n.Plug(testhost.NIC{MAC: stormMAC(id), Name: name}); err != nil {
			n.t.Fatal(err)
		}
	}
	unplug := func(id int) { // where there are two, the older one
		n.t.Helper()
		if err := n.Unplug(stormMAC(id)); err != nil {
			n.t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(storm); time.Now().Before(deadline); {
		id := 1 + r.IntN(among)
		what := "plugged in"
		switch {
		case plugged[id].IsZero():
			plug(id, []string{"", "ens"}[r.IntN(2)])
			plugged[id] = time.Now()
		case copies[id]:
			what = "one of two unplugged"
			unplug(id)
			delete(copies, id)
		case r.IntN(4) == 0:
			what = "a second one of the MAC plugged in"
			plug(id, "enx")
			copies[id] = true
		case r.IntN(2) == 0:
			what = "back at once under another name"
			unplug(id)
			plug(id, "enp")
		default:
			what = "unplugged"
			unplug(id)
			delete(plugged, id)
		}
		counts[what]++
		select {
		case <-time.After(rand.N(150 * time.Millisecond)):
		case <-n.t.Context().Done():
			n.t.Fatal(n.t.Context().Err())
		}
	}
	for id := range copies {
		unplug(id)
	}
	n.t.Logf("within %s: %v", storm, counts)
}

// everything is all that multinicd could leave on a host: files by their content, those of its own state by name, rules, and routes.
func (n *node) everything() string {
	n.t.Helper()
	return n.must("sh", "-c", `
		find `+folders+` -type f -exec grep -L '^nm-generated=true' {} + 2>/dev/null | xargs -r sha256sum | sort -k 2
		find /var/lib/multinicd /run/multinicd /run/netplan /tmp /var/tmp -mindepth 1 2>/dev/null | grep -v -E '/(record|attempts|report|last-known-good|netplan-accepted)\.json$|/lock$|/multinicd.sock$|systemd-private' | sort
		for family in -4 -6; do
			ip $family rule
			ip $family -oneline route show table all | grep -E ' dev multinic| table 1000|proto 109' | sed 's/ *$//' | sort
		done`)
}

// whoeverMadeIt is everything without what differs where networkd has a catch-all: it is told of a NIC only if it
// had the link in hand before we did, and then has our file, and makes our routes too, by its own protocol.
func whoeverMadeIt(everything string) string {
	everything = regexp.MustCompile(`(?m)^.* /run/systemd/network/.*multinic.*\n| proto (109|static)\b`).ReplaceAllString(everything, "")
	lines := strings.Split(everything, "\n")
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "\n")
}

// wantEverything waits until a host is as it was. It does not look often, which takes long.
func (n *node) wantEverything(was string, get func() string) {
	n.t.Helper()
	n.eventually("what is there, against what was", "", func() string {
		diff := cmp.Diff(was, get())
		if diff != "" {
			time.Sleep(500 * time.Millisecond) // each look takes a tenth of a second of the machine
		}
		return diff
	})
}

// resources is what the daemon holds: goroutines by its own word, file descriptors and threads by the kernel's.
type resources struct{ goroutines, files, threads int }

func (n *node) resources() resources {
	n.t.Helper()
	s, err := n.status()
	if err != nil {
		n.t.Fatal(err)
	}
	pid, err := n.DaemonPID(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	count := func(dir string) int {
		return len(strings.Fields(n.must("nsenter", "--target", "1", "--pid", "--mount", "ls", fmt.Sprintf("/proc/%d/%s", pid, dir))))
	}
	return resources{s.Goroutines, count("fd"), count("task")}
}

// wantResources waits until the daemon holds no more than it did. Go keeps the threads that it once needed: there may be some more, but not one
// for each NIC that came.
func (n *node) wantResources(begun resources) {
	n.t.Helper()
	var now resources
	n.eventually("goroutines and files that are left open", "", func() string {
		if now = n.resources(); now.goroutines > begun.goroutines || now.files > begun.files || now.threads > begun.threads+8 {
			return fmt.Sprintf("%+v, were %+v", now, begun)
		}
		return ""
	})
	n.t.Logf("the daemon holds %+v, held %+v", now, begun)
}
