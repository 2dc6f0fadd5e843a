// Package netplan_test holds package netplan against the real netplan, of Debian 12 and, with MULTINIC_LONG set, of Debian 13.
package netplan_test

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/netip"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"multinicd/host"
	"multinicd/host/bus"
	"multinicd/netplan"
	"multinicd/nic"
	"multinicd/test/bed"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/testhost"
)

var (
	seed   = flag.Uint64("seed", 0, "seed of the random configurations; 0: another each time")
	update = flag.Bool("update", false, "record what the real generators write below netplan/testdata/retarget")
)

// onHosts runs a test on a booted host of each Debian.
func onHosts(t *testing.T, test func(t *testing.T, h *testhost.Host, r *random)) {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	suites := append([]string{"bookworm"}, prerequisite.Long("trixie")...)
	if *update {
		suites = []string{"bookworm", "trixie"}
	}
	for _, suite := range suites {
		t.Run(suite, func(t *testing.T) {
			h := bed.New(t).HostWith(testhost.Options{Suite: suite, NICs: bed.NICs("02:00:00:00:01:01")})
			t.Logf("-seed=%d, netplan %s", s, version(t, h))
			test(t, h, &random{rand.New(rand.NewPCG(s, 0))})
		})
	}
}

func shell(t *testing.T, h *testhost.Host, script string) string {
	t.Helper()
	out, err := h.Shell(t.Context(), script)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// version is netplan's own, without Debian's.
func version(t *testing.T, h *testhost.Host) string {
	t.Helper()
	v, _, _ := strings.Cut(shell(t, h, "dpkg-query -W -f '${Version}' netplan.io"), "-")
	return v
}

// random draws what the API and the planner let through.
type random struct{ *rand.Rand }

func (r *random) config(id int) nic.Config {
	c := nic.Config{ID: id, Name: nic.NameFor(id), MAC: nic.MAC{2, 0, 0, 0, byte(id >> 8), byte(id)}}
	for range r.IntN(4) {
		c.Addresses = append(c.Addresses, r.address(r.IntN(2) == 0))
	}
	for range r.IntN(5) {
		route := r.route(r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(2) == 0)
		if !slices.ContainsFunc(c.Routes, func(o nic.Route) bool { return o.Key() == route.Key() }) { // netplan writes one of two
			c.Routes = append(c.Routes, route)
		}
	}
	if r.IntN(2) == 0 {
		c.MTU = r.mtu()
	}
	for range r.IntN(3) {
		c.Rules = append(c.Rules, r.rule(id, r.IntN(2) == 0))
	}
	return c
}

// rule sends what comes from an address into the NIC's own table.
func (r *random) rule(id int, six bool) nic.Rule {
	a := r.address(six).Addr()
	out := nic.Rule{Priority: nic.Priority(id), From: netip.PrefixFrom(a, a.BitLen()), Table: nic.Table(id)}
	if r.IntN(2) == 0 {
		out.Priority, out.To = nic.OwnFirst, r.address(six).Masked()
	}
	return out
}

func (r *random) mtu() int { return pick(r, 68, 1280, 1500, 9000, 65535, 68+r.IntN(65000)) }

func pick[T any](r *random, of ...T) T { return of[r.IntN(len(of))] }

// address is one that a host can have, with any length.
func (r *random) address(six bool) netip.Prefix {
	for {
		a := r.addr(six)
		if a.IsGlobalUnicast() || a.IsLinkLocalUnicast() {
			return netip.PrefixFrom(a, pick(r, a.BitLen(), a.BitLen()-1, 24, 1, 1+r.IntN(a.BitLen())))
		}
	}
}

func (r *random) addr(six bool) netip.Addr {
	if !six {
		return netip.AddrFrom4([4]byte{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())})
	}
	var b [16]byte
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	switch r.IntN(4) {
	case 0:
		copy(b[:], []byte{0xfe, 0x80, 0, 0, 0, 0, 0, 0})
	case 1: // many zeros, which the text leaves out
		clear(b[2:14])
	}
	return netip.AddrFrom16(b)
}

func (r *random) route(six, via, metric, table bool) nic.Route {
	to := r.addr(six)
	out := nic.Route{To: netip.PrefixFrom(to, pick(r, to.BitLen(), 8, 1, 1+r.IntN(to.BitLen()))).Masked()}
	if via {
		out.Via = r.address(six).Addr()
	}
	out.OnLink = via && r.IntN(2) == 0
	if metric {
		out.Metric = pick(r, 1, 1024, math.MaxInt32, 1+r.IntN(math.MaxInt32))
	}
	if table {
		out.Table = pick(r, 1, 253, nic.TableMain, 10000, math.MaxInt32, 256+r.IntN(math.MaxInt32-256))
		if out.Table >= 10000 && out.Table <= 19999 && r.IntN(2) == 0 {
			out.To = netip.PrefixFrom(to, 0).Masked()
		}
	}
	return out
}

// shapes has each shape that a file of ours can have in its parts, with random values: every combination of whether it was taken
// over, MTU, families of addresses, and one kind of route.
func (r *random) shapes() (out []file) {
	ids := r.Perm(nic.MaxID + 1)
	for _, families := range [][]bool{nil, {false}, {true}, {false, true}, {true, false}} {
		for bits := range 1 << 6 {
			is := func(n int) bool { return bits&(1<<n) != 0 }
			if !is(1) && bits>>2 != 0 {
				continue // without a route there are no kinds of it
			}
			c := nic.Config{ID: ids[len(out)], MAC: nic.MAC{byte(r.Uint32()) &^ 1, 1, byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())}}
			c.Name = nic.NameFor(c.ID)
			for _, six := range families {
				c.Addresses = append(c.Addresses, r.address(six))
			}
			if is(0) {
				c.MTU = r.mtu()
			}
			if is(1) {
				c.Routes = []nic.Route{r.route(is(2), is(3), is(4), is(5))}
			}
			for _, six := range families[:r.IntN(len(families)+1)] {
				c.Rules = append(c.Rules, r.rule(c.ID, six))
			}
			out = append(out, file{Config: c})
		}
	}
	for _, f := range slices.Clone(out) {
		f.manager = true
		out = append(out, f)
	}
	return out
}

// file is what Render is asked for.
type file struct {
	nic.Config
	manager bool   // its renderer is NetworkManager
	garbage string // in place of what Render gives
}

func (f file) data() []byte {
	if f.garbage != "" {
		return []byte(f.garbage)
	}
	if f.manager {
		return netplan.RenderForManager(f.Config)
	}
	return netplan.Render(f.Config)
}

// generate has the real generator read each tree of files, and gives its complaint by tree, "" where it accepts.
func generate(t *testing.T, h *testhost.Host, trees [][]file) []string {
	t.Helper()
	shell(t, h, "rm -rf /tmp/trees")
	for i, tree := range trees {
		for _, f := range tree {
			if err := h.WriteFile(fmt.Sprintf("/tmp/trees/%d%s", i, netplan.File(f.Config)), f.data(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The generator itself: netplan's command is Python, and as slow.
	out := shell(t, h, `cd /tmp/trees; for i in *; do /usr/libexec/netplan/generate.real --root-dir /tmp/trees/$i >$i.out 2>&1 || echo $i; done`)
	complaints := make([]string, len(trees))
	for i := range strings.FieldsSeq(out) {
		n, err := strconv.Atoi(i)
		if err != nil {
			t.Fatal(err)
		}
		complaints[n] = "refused: " + shell(t, h, "cat /tmp/trees/"+i+".out")
	}
	return complaints
}

// generated reads what generate made for a NIC: networkd's file and udev's, which it needs for an MTU only; nil: it made none.
func generated(t *testing.T, h *testhost.Host, tree int, f file) (network, link []byte) {
	t.Helper()
	stem := fmt.Sprintf("/tmp/trees/%d%s/10-netplan-%s", tree, netplan.RuntimeDir, netplan.ID(f.Config))
	network, err := h.ReadFile(stem + ".network")
	if err != nil {
		t.Fatal(err)
	}
	if f.MTU == 0 {
		return network, nil
	}
	link, err = h.ReadFile(stem + ".link")
	if err != nil {
		t.Fatal(err)
	}
	return network, link
}

// netplan.Backend asks the real netplan once per shape, since it judges by nothing else. This is what holds it to that.
func TestRealNetplanAcceptsEveryShape(t *testing.T) {
	onHosts(t, func(t *testing.T, h *testhost.Host, r *random) {
		shapes := r.shapes()
		t.Logf("%d shapes, 19 hosts of 16 NICs and one of 64", len(shapes))
		trees := slices.Collect(slices.Chunk(shapes, 5))
		for host := range 20 {
			nics := 16
			if host == 0 {
				nics = 64 // as many as an object may name: which of ours are together is not judged either
			}
			var tree []file
			for _, id := range r.Perm(nic.MaxID + 1)[:nics] {
				tree = append(tree, file{Config: r.config(id), manager: r.IntN(2) == 0})
			}
			trees = append(trees, tree)
		}
		for i, complaint := range generate(t, h, trees) {
			if complaint == "" {
				continue
			}
			t.Error(complaint)
			for _, f := range trees[i] {
				t.Logf("%s", f.data())
			}
		}
		// What judges above is what `netplan generate` asks at boot and by hand.
		shell(t, h, "for i in 0 "+strconv.Itoa(len(trees)-1)+"; do netplan generate --root-dir /tmp/trees/$i; done")
	})
}

// Between a NIC's old name and its new one both files stand in /etc/netplan for a moment, in which the host may lose its power.
func TestTwoFilesOfOneNICStillBoot(t *testing.T) {
	onHosts(t, func(t *testing.T, h *testhost.Host, r *random) {
		one, two := r.config(1), r.config(2)
		two.MAC, two.Addresses = one.MAC, one.Addresses
		if complaint := generate(t, h, [][]file{{{Config: one}, {Config: two}}})[0]; complaint != "" {
			t.Error(complaint)
		}
	})
}

// The way that the daemon asks: over the bus, beside the files of others.
func TestTheBusAcceptsOursAndRefusesGarbage(t *testing.T) {
	onHosts(t, func(t *testing.T, h *testhost.Host, r *random) {
		files, err := host.New(filepath.Join("/proc", strconv.Itoa(h.Leader()), "root"))
		if err != nil {
			t.Fatal(err)
		}
		system := bus.New(files, nil, slog.New(slog.NewTextHandler(t.Output(), nil))) // netplan's answer does not depend on the kernel
		before := shell(t, h, "cd /etc/netplan; sha256sum *")
		good := map[string][]byte{}
		for _, id := range r.Perm(nic.MaxID + 1)[:16] {
			f := file{Config: r.config(id)}
			good[path.Base(netplan.File(f.Config))] = f.data()
		}
		if err := system.NetplanValidate(t.Context(), good); err != nil {
			t.Errorf("16 random NICs: %v", err)
			for _, data := range good {
				t.Logf("%s", data)
			}
		}
		c := nic.Config{ID: 1, Name: "multinic1", MAC: nic.MAC{2, 0, 0, 0, 1, 1}, MTU: 1500, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24")},
			Routes: []nic.Route{{To: netip.MustParsePrefix("10.0.0.0/8"), Via: netip.MustParseAddr("192.0.2.1")}}}
		right := string(netplan.Render(c))
		var trees [][]file
		for _, bad := range []string{
			strings.ReplaceAll(right, "192.0.2.7/24", "192.0.2.7/33"),   // out of range
			strings.ReplaceAll(right, "optional", "optinal"),            // no such key
			right[:strings.LastIndex(right, "\"")],                      // cut off
			strings.ReplaceAll(right, "192.0.2.7/24", "192.0.2.7/0"),    // no length
			strings.ReplaceAll(right, "1500", "-1500"),                  // not a number of that kind
			strings.ReplaceAll(right, "192.0.2.1\"", "2001:db8::1\""),   // two families
			strings.ReplaceAll(right, "      mtu", "     mtu"),          // another indentation
			strings.ReplaceAll(right, "192.0.2.7/24", "192.0.2.999/24"), // no address
		} {
			if bad == right {
				t.Fatal("that is no garbage")
			}
			trees = append(trees, []file{{Config: c, garbage: bad}})
			if len(trees) > 3 {
				continue // asking over the bus takes long
			}
			if err := system.NetplanValidate(t.Context(), map[string][]byte{"90-multinic1.yaml": []byte(bad)}); !errors.Is(err, bus.ErrRefused) {
				t.Errorf("got %v of\n%s", err, bad)
			}
		}
		for i, complaint := range generate(t, h, trees) {
			if complaint == "" {
				t.Errorf("the generator accepts\n%s", trees[i][0].garbage)
			}
		}
		if after := shell(t, h, "cd /etc/netplan; sha256sum *"); after != before {
			t.Errorf("/etc/netplan changed: %s, then %s", before, after)
		}
		if left := shell(t, h, "ls /etc/netplan | grep -c multinic || true"); strings.TrimSpace(left) != "0" {
			t.Errorf("%s files of ours were put in place", left)
		}
	})
}

func sorted[M ~map[string]V, V any](m M) (out []string) {
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
