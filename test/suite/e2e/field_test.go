package e2e

import (
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"multinicd/test/bed"
	"multinicd/test/bed/installed"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/product"
	"multinicd/test/bed/testhost"
)

// renew is when a lease of a stock host is prolonged, so that a test sees soon who still has one.
const renew = 3 * time.Second

// stock is a host as the cloud made it, with a NIC on segment data1, where a DHCP server offers a
// router.
type stock struct {
	*node
	k      kind
	server *testhost.DHCPServer
}

// stockBed is a world with a DHCP server on data1 that gives away leases which are prolonged every
// few seconds, and somebody behind the routers.
func stockBed(t *testing.T, more ...func(*testhost.DHCP)) (*bed.Bed, *testhost.DHCPServer) {
	t.Helper()
	b := bed.New(t)
	if err := b.World.AddAddress("mgmt", netip.PrefixFrom(testhost.Behind, 32)); err != nil {
		t.Fatal(err)
	}
	o := testhost.DHCP{Network: netip.MustParsePrefix(segments["data1"]), Renew: renew, Fixed: map[string]netip.Addr{mac1: netip.MustParseAddr("192.168.100.10")}}
	for _, say := range more {
		say(&o)
	}
	return b, b.DHCP("data1", o)
}

// newStock boots one with multinicd in its image, enabled, and stopped for now. files are on its
// disk before the first boot.
//
// On Debian 12 a package that is installed later has systemd run netplan's generator, which writes
// all files of networkd anew: networkd cannot be asked then to let go of one link without touching
// the others, and renews the lease until the next boot.
func newStock(t *testing.T, k kind, b *bed.Bed, server *testhost.DHCPServer, o testhost.Options, files map[string]string) *stock {
	t.Helper()
	n := &node{Node: installed.On(t, b.NewHost(o)), t: t, bed: b}
	for name, text := range files {
		mode := fs.FileMode(0o600)
		if strings.HasPrefix(name, "/etc/systemd/") {
			mode = 0o644 // networkd is a user of its own
		}
		if err := n.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	config := settings("worker-node-01", fromFile) + k.toml
	packaged := os.Getenv("MULTINICD_TEST_DEB") != "" // which needs a host that is on
	if !packaged {
		n.Install(config)
	}
	if err := n.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if packaged {
		n.Install(config)
		n.reboot()
	}
	n.must("systemctl", "stop", "multinicd")
	return &stock{node: n, k: k, server: server}
}

// hasItsLease waits until the NIC of data1 has a lease and a default route, whatever it is called.
func (s *stock) hasItsLease() {
	s.t.Helper()
	s.eventually("the NIC's default route", "dhcp", func() string {
		link, _, _ := strings.Cut(s.link(mac1), " ")
		return s.defaults(link)
	})
}

// prefers has the kernel lead by one link where two have equal routes, or nearly: that of the other
// link is made anew, as if its lease had come second.
func (s *stock) prefers(link, other string) {
	s.t.Helper()
	if s.k.flavour == testhost.Networkd {
		s.must("networkctl", "reconfigure", other)
	} else {
		s.must("sh", "-ec", `nmcli connection up "$(nmcli -g GENERAL.CONNECTION device show `+other+` | head -1)"`)
	}
	s.eventually("the link by which the node's traffic leaves", link+", of two", func() string {
		return s.way() + ", of " + map[int]string{2: "two"}[strings.Count(s.must("ip", "-4", "route", "show", "default"), "\n")]
	})
}

// way is the link by which the node's traffic leaves.
func (n *node) way() string {
	n.t.Helper()
	_, after, _ := strings.Cut(n.must("ip", "-4", "route", "get", testhost.Behind.String()), " dev ")
	link, _, _ := strings.Cut(after, " ")
	return link
}

// oneDefault waits until the node's traffic leaves by the primary NIC, which has the only default
// route.
func (n *node) oneDefault(when string) {
	n.t.Helper()
	n.wantStays("default routes "+when, n.Primary, func() string {
		return strings.Join(strings.Fields(n.must("sh", "-c", "ip -4 route show default table all | grep -o 'dev [^ ]*' | cut -d ' ' -f 2")), " ")
	})
	if got := n.way(); got != n.Primary {
		n.t.Errorf("%s: the node's traffic leaves by %s", when, got)
	}
}

// gaveUpItsLease: nobody prolongs the NIC's lease, so that none is left after two lease times.
// Those are four minutes, which the long run waits for.
func (s *stock) gaveUpItsLease(when string) {
	s.t.Helper()
	watched := 8 * time.Second
	long := len(prerequisite.Long(s.k)) > 0
	if long {
		watched = 2*2*time.Minute + 10*time.Second
	}
	given := s.server.Given(mac1)
	s.must("sleep", fmt.Sprint(watched.Seconds())) // nothing is to happen
	if got := s.server.Given(mac1); got != given {
		s.t.Errorf("%s: the lease was prolonged %d times within %s", when, got-given, watched)
	}
	if lease, err := s.server.Lease(mac1); long && (err != nil || lease.IsValid()) {
		s.t.Errorf("%s: the lease is %v, %v after two lease times", when, lease, err)
	}
}

// othersWatched is asked at its end what happened to the rest of the host meanwhile: nothing, and
// no packet of the primary NIC was lost.
func (n *node) othersWatched() (end func(when string)) {
	n.t.Helper()
	n.quiet()
	kernel, err := n.MonitorKernel()
	if err != nil {
		n.t.Fatal(err)
	}
	ping := n.Command(n.t.Context(), "ping", "-n", "-i", "0.02", "-W", "2", "-I", n.Address.Addr().String(), testhost.Gateway.String())
	var out strings.Builder
	ping.Stdout, ping.Stderr = &out, &out
	if err := ping.Start(); err != nil {
		n.t.Fatal(err)
	}
	return func(when string) {
		n.t.Helper()
		n.must("pkill", "-INT", "-x", "ping")
		err := ping.Wait()
		last, lost := 0, 0
		for _, m := range regexp.MustCompile(`icmp_seq=([0-9]+) ttl=`).FindAllStringSubmatch(out.String(), -1) {
			seq, _ := strconv.Atoi(m[1]) // of digits
			lost += (seq - last - 1) & 0xffff
			last = seq
		}
		if err != nil || last == 0 || lost != 0 {
			n.t.Errorf("%s: %v, %d of %d packets lost on the primary NIC", when, err, lost, last)
		}
		events, err := kernel.Events()
		kernel.Stop()
		if err != nil {
			n.t.Fatal(err)
		}
		for _, e := range foreign(events) {
			// A rule has no link. Ours are those of our priorities.
			if e.What != "rule" || !strings.HasPrefix(e.Text, "priority 2000") {
				n.t.Errorf("%s: something else was touched: %s", when, e)
			}
		}
	}
}

// stockKinds are hosts as the cloud made them, of the images that there are most of; in the long
// run all.
func stockKinds(names ...string) (out []kind) {
	for _, k := range both(names...) {
		if k.cloud {
			out = append(out, k)
		}
	}
	return out
}

// The stock case of a cloud: DHCP on every NIC, each with a default route. Which one the kernel
// uses depends on whose lease came first. The object names one of them: the other one is what the
// node lives by.
func TestTheStockCase(t *testing.T) {
	t.Parallel()
	type row struct {
		name    string
		kinds   []kind
		cidr    string
		static  bool
		prefers int // the NIC by which the kernel leads at first: 0 is the primary one
	}
	const netplan, keyfiles = netplan13 + asTheCloud, keyfiles12 + asTheCloud
	for _, r := range append([]row{
		{"the extra NIC's lease came first", stockKinds(keyfiles), "192.168.100.20/24", false, 1},
		{"the extra NIC's lease came second", stockKinds(netplan), "192.168.100.10/24", false, 0}, // the very address that the server gives
	}, prerequisite.Long(
		row{"the primary NIC is static", stockKinds(netplan), "192.168.100.10/24", true, 0},
	)...) {
		for _, k := range r.kinds {
			t.Run(r.name+", "+k.name, func(t *testing.T) {
				t.Parallel()
				b, server := stockBed(t)
				o := k.options(bed.NICs(mac1)...)
				o.Cloud.StaticPrimary = r.static
				s := newStock(t, k, b, server, o, nil)
				s.hasItsLease()
				if order := []string{s.Primary, k.nth(1)}; !r.static {
					s.prefers(order[r.prefers], order[1-r.prefers])
				}
				end := s.othersWatched()
				s.start(nodeObject(nicYAML(1, mac1, r.cidr)))
				s.isOurs("at once", r.cidr)
				s.gaveUpItsLease("at once")
				end("taken over")
				s.reboot()
				s.isOurs("after a boot", r.cidr)
				s.gaveUpItsLease("after a boot")
			})
		}
	}
}

// isOurs waits until the NIC is as wanted, and the only default route is that of the primary NIC.
func (s *stock) isOurs(when, cidr string) {
	s.t.Helper()
	s.wantNICs("multinic1 Configured Configured")
	s.wantLinkStays(mac1, "multinic1 up mtu 1500 "+cidr)
	s.oneDefault(when)
	if got := s.must("ip", "-4", "route", "show", "table", "all", "dev", "multinic1", "proto", "dhcp"); got != "" {
		s.t.Errorf("%s: routes of the lease are left:\n%s", when, got)
	}
}

// With an API server that only default routes lead to: the extra NIC's may go where the server
// answers by the other one, also while the kernel leads by it.
func TestTheStockCaseOfANodeWithAnAPIServer(t *testing.T) {
	t.Parallel()
	for i, k := range stockKinds(netplan13+asTheCloud, keyfiles12+asTheCloud) {
		for name, dead := range map[string]bool{"the primary's gateway answers": false, "the primary's gateway is dead": true} {
			if dead != (i > 0) && len(prerequisite.Long(k)) == 0 {
				continue
			}
			t.Run(name+", "+k.name, func(t *testing.T) {
				t.Parallel()
				b, server := stockBed(t)
				c := newCluster(t, b)
				o := k.options(bed.NICs(mac1)...)
				o.Name = fmt.Sprintf("stock-%d-%t", i, dead)
				s := &stock{node: newNode(t, b, o, settings(o.Name, "")+k.toml), k: k, server: server}
				if err := product.Join(t.Context(), c.Cluster.Cluster, s.Host, o.Name, b.APIBehind().URL()); err != nil {
					t.Fatal(err)
				}
				s.hasItsLease()
				s.prefers(k.nth(1), s.Primary)
				if err := s.StartDaemon(t.Context()); err != nil {
					t.Fatal(err)
				}
				c.Want(object(o.Name, nicYAML(2, mac2, "192.168.200.20/24"))) // which is not plugged in
				c.wantState(o.Name, "Pending", "0/1")
				if !dead {
					end := s.othersWatched()
					c.Want(object(o.Name, nicYAML(1, mac1, "192.168.100.20/24")))
					c.wantState(o.Name, "Configured", "1/1")
					s.isOurs("at once", "192.168.100.20/24")
					s.gaveUpItsLease("at once")
					end("taken over")
					return
				}
				if err := b.World.SetSegment("mgmt", false); err != nil {
					t.Fatal(err)
				}
				before := s.must("sh", "-c", "ip -4 route; ls -l --time-style=full-iso "+folders+" 2>/dev/null || true")
				for _, more := range []string{"mtu: 1500", "adopt: true"} {
					c.Want(object(o.Name, nicYAML(1, mac1, "192.168.100.20/24", more)))
					s.wantNICs("multinic1 Failed ProtectedLink")
					s.eventually("the refusal's message", "names "+k.nth(1), func() string {
						st, err := s.status()
						if err != nil || len(st.NICs) != 1 || !strings.Contains(st.NICs[0].Message, k.nth(1)) {
							return fmt.Sprint(st.NICs, err)
						}
						return "names " + k.nth(1)
					})
					if after := s.must("sh", "-c", "ip -4 route; ls -l --time-style=full-iso "+folders+" 2>/dev/null || true"); after != before {
						t.Errorf("refused, but it is\n%s\nwas\n%s", after, before)
					}
				}
			})
		}
	}
}
