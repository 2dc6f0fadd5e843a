// Package installed is what the tests of whole nodes share: a host with multinicd on it, and a cluster with the product in it.
//
// In go hosts and a control plane of the test bed, and where MULTINICD_TEST_DEB names a package, that; out come a Node and a Cluster that a test asks
// for what it wants to see as a line of text, and waits for.
//
// It must not hold any test's wishes: settings, objects and what is to come of them are the test's own.
//
// Start reading at New and NewCluster.
package installed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"multinicd/internal/daemon"
	"multinicd/internal/daemon/status"
	"multinicd/test/bed"
	"multinicd/test/bed/testhost"
)

// The MACs of the NICs of examples/worker-node-01.yaml, which a Node has if the test names no others.
const (
	MAC1 = "02:00:00:00:01:01"
	MAC2 = "02:00:00:00:01:02"
)

// ObjectFile is where a Node that needs no cluster has its object.
const ObjectFile = "/etc/multinicd/node.yaml"

// Node is a host with multinicd on it.
type Node struct {
	*testhost.Host
	t      testing.TB
	object string // in ObjectFile; empty: none was written
}

// New boots a host and installs multinicd, which is enabled and not started; tags are those that it is built with.
func New(t testing.TB, b *bed.Bed, o testhost.Options, config string, tags ...string) *Node {
	t.Helper()
	if o.NICs == nil {
		o.NICs = bed.NICs(MAC1, MAC2)
	}
	n := On(t, b.HostWith(o))
	n.Install(config, tags...)
	return n
}

// On is a node without multinicd yet, on a host that may be off.
func On(t testing.TB, h *testhost.Host) *Node { return &Node{Host: h, t: t} }

// Settings is multinicd.toml: veths stand for NICs here, and neighbours are asked as dad says ("off", "fast", "rfc5227"). source is text too.
func Settings(node, source, dad string) string {
	return fmt.Sprintf("node = %q\n%s\n[links]\nvirtual_kinds = [\"veth\"]\n[backend]\ndad = %q\n", node, source, dad)
}

// Install puts multinicd on the host: as built from this tree, or, where MULTINICD_TEST_DEB names a package (made with the same tags), from that.
func (n *Node) Install(config string, tags ...string) {
	n.t.Helper()
	var err error
	if deb := os.Getenv("MULTINICD_TEST_DEB"); deb != "" {
		err = n.InstallPackage(n.t.Context(), deb, config)
	} else {
		err = n.InstallDaemon(n.t.Context(), bed.Build(n.t, "./cmd/multinicd", tags...), bed.Path(n.t, "systemd/multinicd.service"), config)
	}
	if err != nil {
		n.t.Fatal(err)
	}
}

// Sh runs a script on the host, to its first failure, and gives what it prints.
func (n *Node) Sh(script string) string {
	n.t.Helper()
	out, err := n.Shell(n.t.Context(), script)
	if err != nil {
		n.t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(out)
}

// Link is what `ip -json address` shows of one.
type Link struct {
	Name      string    `json:"ifname"`
	MTU       int       `json:"mtu"`
	MAC       string    `json:"address"`
	Flags     []string  `json:"flags"`
	Addresses []Address `json:"addr_info"`
}

// Address is what it shows of an address.
type Address struct {
	Local  string `json:"local"`
	Length int    `json:"prefixlen"`
	Scope  string `json:"scope"`
}

// String is name, up or down, MTU and global addresses: "multinic1 up mtu 1500 192.168.100.10/24".
func (l Link) String() string {
	state := "down"
	if slices.Contains(l.Flags, "UP") {
		state = "up"
	}
	out := fmt.Sprintf("%s %s mtu %d", l.Name, state, l.MTU)
	for _, a := range l.Addresses {
		if a.Scope == "global" {
			out += fmt.Sprintf(" %s/%d", a.Local, a.Length)
		}
	}
	return out
}

// Link is the text of the link with a MAC; "absent" where there is none. It asks the kernel from this machine, since whoever waits for something asks often,
// and a process on the host each time would take more of the machine than what is waited for.
func (n *Node) Link(mac string) string {
	l, err := n.kernel(mac)
	if err != nil {
		return err.Error()
	}
	if l == nil {
		return "absent"
	}
	return l.String()
}

// kernel is nil where there is no such link.
func (n *Node) kernel(mac string) (*Link, error) {
	if !n.Running() {
		return nil, errors.New("the host is off")
	}
	ns, err := os.Open(n.NetNS())
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(netns.NsHandle(ns.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(links, func(l netlink.Link) bool { return l.Attrs().HardwareAddr.String() == mac })
	if i < 0 {
		return nil, nil
	}
	l := links[i].Attrs()
	addresses, err := h.AddrList(links[i], netlink.FAMILY_ALL)
	if err != nil {
		return nil, err
	}
	out := &Link{Name: l.Name, MTU: l.MTU, MAC: mac}
	if l.Flags&net.FlagUp != 0 {
		out.Flags = []string{"UP"}
	}
	for _, a := range addresses {
		length, _ := a.Mask.Size()
		address := Address{Local: a.IP.String(), Length: length}
		if a.Scope == unix.RT_SCOPE_UNIVERSE {
			address.Scope = "global"
		}
		out.Addresses = append(out.Addresses, address)
	}
	return out, nil
}

// Status asks the daemon at its socket.
func (n *Node) Status() (status.Node, error) { return n.ask(daemon.AskStatus, 5*time.Second) }

// Passes is how many passes the daemon has begun, and ended: it has the daemon undo a rollback where there is none, which does nothing and is answered
// between two passes. The text is an error where there is no daemon, or a rollback.
func (n *Node) Passes() string {
	s, err := n.Status()
	if err == nil && !s.Held {
		s, err = n.ask(daemon.AskUndo, bed.Patience)
	}
	if err != nil || s.Held {
		return fmt.Sprintf("nobody to ask: %v", err)
	}
	return fmt.Sprint(s.Meters.Passes)
}

func (n *Node) ask(what string, within time.Duration) (status.Node, error) {
	var r daemon.Reply
	conn, err := net.DialTimeout("unix", fmt.Sprintf("/proc/%d/root/run/multinicd/multinicd.sock", n.Leader()), time.Second)
	if err != nil {
		return r.Status, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		return r.Status, err
	}
	if _, err := conn.Write([]byte(what + "\n")); err != nil {
		return r.Status, err
	}
	return r.Status, json.NewDecoder(conn).Decode(&r)
}

// WriteFile writes a file of the host. What is written to ObjectFile is what Said wants to hear of from then on.
func (n *Node) WriteFile(name string, content []byte, mode fs.FileMode) error {
	if name == ObjectFile {
		n.object = string(content)
	}
	return n.Host.WriteFile(name, content, mode)
}

// Object is the object of a node with these interfaces, one YAML flow mapping each.
func Object(node string, interfaces ...string) string {
	list := " []"
	if len(interfaces) > 0 {
		list = "\n  - " + strings.Join(interfaces, "\n  - ")
	}
	return fmt.Sprintf("apiVersion: multinic.io/v1\nkind: MultiNicNodeConfig\nmetadata: {name: %[1]s, namespace: multinic-system}\nspec:\n  nodeName: %[1]s\n  interfaces:%[2]s\n", node, list)
}

// Entry is an interface of an object; more are further fields of it ("mtu: 1400").
func Entry(id int, mac, cidr string, more ...string) string {
	return fmt.Sprintf("{id: %d, macAddress: %q, cidr: %q%s}", id, mac, cidr, strings.Join(append([]string{""}, more...), ", "))
}
