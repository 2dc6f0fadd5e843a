package testhost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// shortestLease is what dnsmasq makes of any shorter one.
const shortestLease = 2 * time.Minute

const serverTimeout = 20 * time.Second // less than one on an idle machine

// DHCP is what a server of IPv4 addresses gives away on a segment.
type DHCP struct {
	// Network is the segment's, a /24 or larger. The server has the first address in it, and gives
	// away .100 to .199.
	Network netip.Prefix
	// NoRouter is a network without a gateway. Else hosts are told to use the server as one.
	NoRouter bool
	// Lease is 2 min if zero, which is the shortest that there is.
	Lease time.Duration
	// Renew is when a host asks to have its lease prolonged, half of Lease if zero: seconds let a
	// test see many renewals.
	Renew time.Duration
	// Fixed are addresses for hosts of these MACs. They may lie outside of those that are given
	// away.
	Fixed map[string]netip.Addr
	// More are further options, in dnsmasq's words: "26,1280" is an MTU.
	More []string
}

// DHCPServer is a dnsmasq in the switch. It runs from ServeDHCP on until Stop, or the end of the
// world.
type DHCPServer struct {
	world *World
	group string
	dir   string
	args  []string
	cmd   *exec.Cmd
}

// ServeDHCP puts a DHCP server on a segment, and returns when it answers.
func (w *World) ServeDHCP(ctx context.Context, segment string, o DHCP) (*DHCPServer, error) {
	if o.Network.Bits() > 24 || !o.Network.Addr().Is4() {
		return nil, fmt.Errorf("serving DHCP on segment %s: %s has no room for it", segment, o.Network)
	}
	if o.Lease == 0 {
		o.Lease = shortestLease
	}
	if o.Renew == 0 {
		o.Renew = o.Lease / 2
	}
	server := nth(o.Network, 1)
	if err := w.AddAddress(segment, netip.PrefixFrom(server, o.Network.Bits())); err != nil {
		return nil, err
	}
	s := &DHCPServer{world: w, group: "dhcp-" + segment, dir: filepath.Join(w.box.Dir, "dhcp-"+segment)}
	if err := os.MkdirAll(s.fixed(), 0o755); err != nil {
		return nil, fmt.Errorf("serving DHCP on segment %s: %w", segment, err)
	}
	for mac, address := range o.Fixed {
		if err := s.Fix(mac, address); err != nil {
			return nil, err
		}
	}
	router := "3" // the option by its number, without a value: not given
	if !o.NoRouter {
		router += "," + server.String()
	}
	// Of two hosts in their first second none is asked whether it has the other's address
	// (no-ping), and a host that asks for what it had in an earlier life is told no
	// (authoritative).
	s.args = []string{
		"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=", "--log-dhcp", "--log-facility=" + s.log(),
		"--port=0", "--interface=" + segment, "--bind-interfaces", "--except-interface=lo",
		fmt.Sprintf("--dhcp-range=%s,%s,%s,%d", nth(o.Network, 100), nth(o.Network, 199), mask(o.Network), int(o.Lease.Seconds())),
		"--dhcp-option=" + router,
		fmt.Sprintf("--dhcp-option=58,%d", int(o.Renew.Seconds())), fmt.Sprintf("--dhcp-option=59,%d", int((o.Lease * 7 / 8).Seconds())),
		"--dhcp-hostsdir=" + s.fixed(), "--dhcp-leasefile=" + s.leases(), "--dhcp-authoritative", "--no-ping",
	}
	for _, option := range o.More {
		s.args = append(s.args, "--dhcp-option-force="+option)
	}
	return s, s.Start(ctx)
}

// Start has the server answer again after Stop, with the leases that it had.
func (s *DHCPServer) Start(ctx context.Context) error {
	if s.cmd != nil {
		return fmt.Errorf("starting %s: it runs", s.group)
	}
	if err := os.Remove(s.log()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("starting %s: %w", s.group, err)
	}
	cmd := exec.Command("nsenter", append([]string{"--net=" + s.world.switchPath}, s.args...)...)
	if err := s.world.box.Start(s.group, cmd); err != nil {
		return err
	}
	s.cmd = cmd
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	for !strings.Contains(s.Log(), "DHCP, IP range") { // which is said after the socket is there
		if err := pause(ctx, s.group+" to answer"); err != nil {
			return errors.Join(fmt.Errorf("%w, it says:\n%s", err, s.Log()), s.Stop())
		}
	}
	return nil
}

// Stop ends the server at once: nobody is told. Its address, the router's, stays.
func (s *DHCPServer) Stop() error {
	if s.cmd == nil {
		return nil
	}
	err := s.world.box.KillGroup(s.group)
	_ = s.cmd.Wait() // it was killed
	s.cmd = nil
	return err
}

// Fix has the host of a MAC get that address from now on.
func (s *DHCPServer) Fix(mac string, address netip.Addr) error {
	name := filepath.Join(s.fixed(), strings.ReplaceAll(mac, ":", "-"))
	if err := os.WriteFile(name, []byte(mac+","+address.String()+"\n"), 0o644); err != nil {
		return fmt.Errorf("giving %s an address: %w", mac, err)
	}
	return nil
}

// Lease is an address that a host has for a time.
type Lease struct {
	MAC     string
	Address netip.Addr
	Ends    time.Time
}

// Leases are those that have not ended and were not given back, by address. It may be asked when
// the server does not run.
func (s *DHCPServer) Leases() ([]Lease, error) {
	b, err := os.ReadFile(s.leases())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading leases: %w", err)
	}
	var out []Lease
	for line := range strings.Lines(string(b)) {
		// When it ends, MAC, address, the host's name, what the host calls itself.
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		var seconds int64
		if _, err := fmt.Sscan(f[0], &seconds); err != nil {
			return nil, fmt.Errorf("reading leases: %q: %w", line, err)
		}
		address, err := netip.ParseAddr(f[2])
		if err != nil {
			return nil, fmt.Errorf("reading leases: %q: %w", line, err)
		}
		if l := (Lease{MAC: f[1], Address: address, Ends: time.Unix(seconds, 0)}); time.Now().Before(l.Ends) {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b Lease) int { return a.Address.Compare(b.Address) })
	return out, nil
}

// Lease is the address that the host of a MAC has; the zero Addr if none.
func (s *DHCPServer) Lease(mac string) (netip.Addr, error) {
	all, err := s.Leases()
	i := slices.IndexFunc(all, func(l Lease) bool { return l.MAC == mac })
	if err != nil || i < 0 {
		return netip.Addr{}, err
	}
	return all[i].Address, nil
}

// Given is how many times the host of a MAC has been given a lease, or had it prolonged, since the
// server was started.
func (s *DHCPServer) Given(mac string) int {
	n := 0
	for line := range strings.Lines(s.Log()) {
		if strings.Contains(line, "DHCPACK(") && strings.Contains(line, mac) {
			n++
		}
	}
	return n
}

// Log is all that the server said since it was started; an error is in the text.
func (s *DHCPServer) Log() string {
	b, err := os.ReadFile(s.log())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err.Error()
	}
	return string(b)
}

func (s *DHCPServer) log() string    { return filepath.Join(s.dir, "log") }
func (s *DHCPServer) leases() string { return filepath.Join(s.dir, "leases") }
func (s *DHCPServer) fixed() string  { return filepath.Join(s.dir, "fixed") }

// mask is a network's as four numbers.
func mask(network netip.Prefix) net.IP { return net.IP(net.CIDRMask(network.Bits(), 32)) }

// Manage gives the machine of a MAC its address on segment mgmt by DHCP. Its lease is long: while a
// test runs, nobody renews it, and nothing happens on the primary NIC.
func (w *World) Manage(ctx context.Context, mac string, address netip.Addr) error {
	w.management.Lock()
	defer w.management.Unlock()
	if w.management.DHCPServer == nil {
		server, err := w.ServeDHCP(ctx, managementSegment, DHCP{Network: Management, Lease: 24 * time.Hour})
		if err != nil {
			return err
		}
		w.management.DHCPServer = server
	}
	return w.management.Fix(mac, address)
}
