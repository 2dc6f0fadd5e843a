// Package kubelet finds out what the kubelet of this host is told by root: the node's addresses,
// the node's name, and where the API servers are. It gives its evidence with each answer.
//
// In go the files of a host.Host, among them /proc, and the links of which the kubelet chooses an
// address. Out come the words that root has written for the kubelet, each with the file or process
// it stands in, and the API servers that programs of this host call.
//
// The package changes nothing, asks no service and decides nothing of ours. Only root's word
// counts: the guard protects the link that the answer names, so that a Pod or a user must not be
// able to name one. What cannot be read just now is not taken for absent.
//
// Start reading at Kubelet, then NodeAddrs. words.go says where root writes and how it is read,
// process.go which processes are a kubelet, servers.go who calls which API server.
package kubelet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"multinicd/host"
	"multinicd/nic"
)

// Kubelet answers what the kubelet of one machine is told. Several goroutines may call its methods
// at once.
type Kubelet struct {
	host *host.Host
	told toldCache
}

// New reads nothing yet.
func New(h *host.Host) *Kubelet { return &Kubelet{host: h} }

// NodeAddr is an address by which the cluster knows this node.
type NodeAddr struct {
	Addr     netip.Addr
	Evidence string // "/etc/default/kubelet gives the kubelet this address with --node-ip"
	Chosen   bool   // the kubelet is told none, and takes this one
}

// maxNodeAddrs is how many are believed. A node has one of each family.
const maxNodeAddrs = 8

// NodeAddrs gives the addresses of the node, sorted, each once, at most eight. They are those that
// the kubelet is told with --node-ip or the like. Where it is told none, they are its own choice:
// an address of these links that /etc/hosts has for the node's name. Without a kubelet there is
// none. Only root's word counts: files that root alone writes, and processes of the host's own
// services (see kubelets). The answer is up to 30 s old. None is no error.
func (k *Kubelet) NodeAddrs(ctx context.Context, links []nic.Link) []NodeAddr {
	t := k.kubeletIsTold(ctx)
	var out []NodeAddr
	for _, w := range t.words {
		if w.key != keyNodeIP {
			continue
		}
		for _, text := range strings.Split(w.value, ",") {
			a, err := netip.ParseAddr(strings.TrimSpace(text))
			a = a.Unmap()
			known := slices.ContainsFunc(out, func(n NodeAddr) bool { return n.Addr == a })
			// 0.0.0.0 and :: choose a family and name no address.
			if err == nil && !a.IsUnspecified() && !known && len(out) < maxNodeAddrs {
				out = append(out, NodeAddr{Addr: a, Evidence: w.where + " gives the kubelet this address with " + w.as})
			}
		}
	}
	if len(out) == 0 && t.by != "" {
		out = t.chosen(links)
	}
	slices.SortFunc(out, func(a, b NodeAddr) int { return a.Addr.Compare(b.Addr) })
	return out
}

// chosen is what a kubelet takes that is told nothing (kubernetes pkg/kubelet/nodestatus,
// NodeAddress): the first address of its name, of IPv4 if there is one, that a link has and that is
// no loopback. It would go on to the name server and to the default route, which is the guard's own
// way to find the link.
func (t told) chosen(links []nic.Link) []NodeAddr {
	for _, four := range []bool{true, false} {
		for _, a := range t.hosts {
			held := slices.ContainsFunc(links, func(l nic.Link) bool { return l.Holds(a) })
			if held && a.Is4() == four && a.IsGlobalUnicast() {
				return []NodeAddr{{a, fmt.Sprintf("the kubelet is told no address, and takes the one that /etc/hosts has for %s", t.name), true}}
			}
		}
	}
	return nil
}

// NodeName gives the name that the kubelet is told for its node, lower case, and where it stands;
// "" where it is told none. Only root's word counts, as with NodeAddrs. The answer is up to 30 s
// old.
func (k *Kubelet) NodeName(ctx context.Context) (name, evidence string) {
	for _, w := range k.kubeletIsTold(ctx).words {
		if name := strings.ToLower(w.value); w.key == keyNodeName && nodeName().MatchString(name) {
			return name, w.where + " gives the kubelet this name with " + w.as
		}
	}
	return "", ""
}

// nodeName is a name that a node can have. What a shell or systemd would still replace ("%H",
// "${HOSTNAME}") is none.
var nodeName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`) })

// Shown says how we know that a kubelet runs here, or will; "" where nothing shows one. By root's
// word, as NodeAddrs.
func (k *Kubelet) Shown(ctx context.Context) string { return k.kubeletIsTold(ctx).by }

// The keys of a word.
const (
	keyNodeIP   = "node-ip"
	keyNodeName = "node-name"
	keyServer   = "server" // URL of a k3s or RKE2 server
)

// word is a value that root gives the kubelet of this host.
type word struct {
	key, value string
	as         string // how the key is written there: "--hostname-override"
	where      string // the file, or the process with its service
}

// told is all that was found, the stronger words first.
type told struct {
	by    string // how we know of a kubelet; "": there is none
	words []word
	name  string       // by which the node is looked up in /etc/hosts
	hosts []netip.Addr // that /etc/hosts has for the name, in its order
}

// toldCache keeps the answer, for which all processes are walked over.
type toldCache struct {
	sync.Mutex
	asked time.Time
	last  told
}

// toldAge is how long an answer is taken for good: it changes only when somebody changes the node.
const toldAge = 30 * time.Second

// kubeletIsTold looks in processes and files. What cannot be read just now counts as it was before,
// and is tried again the next time; so is a walk that ctx has cut off.
func (k *Kubelet) kubeletIsTold(ctx context.Context) told {
	k.told.Lock()
	defer k.told.Unlock()
	if !k.told.asked.IsZero() && time.Since(k.told.asked) < toldAge {
		return k.told.last
	}
	found, err := k.askKubelet(ctx)
	if ctx.Err() != nil || host.Short(err) {
		was := k.told.last
		found.by, found.name = cmp.Or(found.by, was.by), cmp.Or(found.name, was.name)
		found.words = both(found.words, was.words)
		found.hosts = both(found.hosts, was.hosts)
		k.told.last, k.told.asked = found, time.Time{}
		return found
	}
	k.told.last, k.told.asked = found, time.Now()
	return found
}

// both gives what is in a, and then what only b has.
func both[T comparable](a, b []T) []T {
	for _, one := range b {
		if !slices.Contains(a, one) {
			a = append(a, one)
		}
	}
	return a
}

func (k *Kubelet) askKubelet(ctx context.Context) (told, error) {
	var out told
	running, err := k.kubelets(ctx)
	for _, p := range running {
		out.by = cmp.Or(out.by, p.name+" runs")
		out.words = append(out.words, flags(p.arguments, p.String())...)
	}
	for _, from := range kubeletFiles {
		if ctx.Err() != nil {
			return out, errors.Join(err, ctx.Err())
		}
		files, failed := k.host.Glob(from.pattern)
		err = errors.Join(err, failed)
		for _, f := range files {
			data, failed := k.host.Head(f, maxWords)
			if err = errors.Join(err, failed); failed != nil {
				continue
			}
			out.words = append(out.words, from.read(data, f)...)
			if out.by == "" && (from.shows || len(out.words) > 0) {
				out.by = "a kubelet is configured (" + f + ")"
			}
		}
	}
	for _, f := range []string{"/var/lib/kubelet/config.yaml", kubeletConf} {
		if out.by == "" && k.host.Exists(f) {
			out.by = "a kubelet is configured (" + f + ")"
		}
	}
	failed := out.lookUp(k.host)
	return out, errors.Join(err, failed)
}

// lookUp finds the node's name in /etc/hosts.
func (t *told) lookUp(h *host.Host) error {
	for _, w := range t.words {
		if w.key == keyNodeName && t.name == "" {
			t.name = w.value
		}
	}
	if t.name == "" {
		data, _, err := h.Read("/proc/sys/kernel/hostname")
		if err != nil {
			return err
		}
		t.name = strings.TrimSpace(string(data))
	}
	data, _, err := h.Read("/etc/hosts")
	if err != nil {
		return err
	}
	return host.Lines(data, func(line string) error {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 2 || !slices.ContainsFunc(fields[1:], func(n string) bool { return strings.EqualFold(n, t.name) }) {
			return nil
		}
		if a, err := netip.ParseAddr(fields[0]); err == nil {
			t.hosts = append(t.hosts, a.Unmap())
		}
		return nil
	})
}
