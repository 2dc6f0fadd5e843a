package kubelet

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"multinicd/host"
)

// APIServer is where a program of this host finds an API server.
type APIServer struct {
	Host     string // a name, or an address
	Port     uint16
	Evidence string // the file that says so, or "a connection of root's"
	Kubelet  bool   // the kubelet's own kubeconfig says so
}

// kubeletConf is kubeadm's kubeconfig of the kubelet.
const kubeletConf = "/etc/kubernetes/kubelet.conf"

// kubeletConfs are the kubelet's kubeconfigs: kubeadm's and kubespray's, k3s's, RKE2's, MicroK8s's.
var kubeletConfs = []string{
	kubeletConf, "/var/lib/rancher/k3s/agent/kubelet.kubeconfig", "/var/lib/rancher/rke2/agent/kubelet.kubeconfig",
	"/var/snap/microk8s/current/credentials/kubelet.config",
}

// maxServers is how many are given.
const maxServers = 32

// APIServers gives, for a host on which the API server is called by a proxy of its own or by the
// address of a Service, where it may really be: the servers of the kubelet's kubeconfigs, of k3s's
// and RKE2's settings and load balancers, of a proxy of kubespray's that listens at one of these
// ports or at the port of such a server, and the other ends of root's connections to one of these
// ports or to one that Kubernetes uses. Each once, in no order, at most 32. Names are not looked
// up. Loopback addresses may be among them. An error says that there may be more.
func (k *Kubelet) APIServers(ctx context.Context, ports ...uint16) (out []APIServer, err error) {
	ports = slices.Clone(ports)
	add := func(at, evidence string, kubelet bool) {
		name, text, failed := net.SplitHostPort(at)
		port, no := strconv.ParseUint(text, 10, 16)
		known := slices.ContainsFunc(out, func(a APIServer) bool { return a.Host == name && a.Port == uint16(port) && a.Kubelet == kubelet })
		if failed == nil && no == nil && name != "" && !known && len(out) < maxServers {
			out = append(out, APIServer{name, uint16(port), evidence, kubelet})
		}
	}
	read := func(pattern string, each func(data []byte, file string)) {
		files, failed := k.host.Glob(pattern)
		err = errors.Join(err, failed)
		for _, f := range files {
			data, _, failed := k.host.Read(f)
			if failed == nil {
				each(data, f)
			}
			err = errors.Join(err, failed)
		}
	}
	for _, f := range kubeletConfs {
		read(f, func(data []byte, file string) {
			for _, u := range kubeconfigServers(data) {
				add(hostPort(u), file, true)
			}
		})
	}
	for _, w := range k.kubeletIsTold(ctx).words {
		if w.key == keyServer {
			add(hostPort(w.value), w.where, false)
		}
	}
	for _, of := range []string{"k3s", "rke2"} {
		read("/var/lib/rancher/"+of+"/agent/etc/*load-balancer.json", func(data []byte, file string) {
			for _, at := range balanced(data) {
				add(at, file, false)
			}
		})
	}
	for _, a := range out {
		ports = append(ports, a.Port)
	}
	for _, f := range []string{"/etc/nginx/nginx.conf", "/etc/haproxy/haproxy.cfg"} {
		read(f, func(data []byte, file string) {
			for _, at := range proxied(data, ports) {
				add(at, file, false)
			}
		})
	}
	if ctx.Err() != nil {
		return out, errors.Join(err, ctx.Err())
	}
	for _, f := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		found, failed := k.connections(ctx, f, ports)
		for _, ap := range found {
			add(ap.String(), "a connection of root's", false)
		}
		err = errors.Join(err, failed)
	}
	return out, err
}

// hostPort gives host:port of an https URL, "" of anything else.
func hostPort(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return ""
	}
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), "443")
	}
	return net.JoinHostPort(u.Hostname(), u.Port())
}

// kubeconfigServers gives the URLs in a kubeconfig.
func kubeconfigServers(data []byte) (out []string) {
	var tree struct {
		Clusters []struct {
			Cluster struct {
				Server string `yaml:"server"`
			} `yaml:"cluster"`
		} `yaml:"clusters"`
	}
	if yaml.Unmarshal(data, &tree) != nil {
		return nil // the kubelet cannot read it either
	}
	for _, c := range tree.Clusters {
		out = append(out, c.Cluster.Server)
	}
	return out
}

// balanced reads the state of the load balancer in k3s and RKE2 (k3s pkg/agent/loadbalancer).
func balanced(data []byte) (out []string) {
	var state struct {
		ServerURL       string
		ServerAddresses []string
		Servers         []string
	}
	if json.Unmarshal(data, &state) != nil {
		return nil // half of a file: k3s writes it anew
	}
	return append(append(state.ServerAddresses, state.Servers...), hostPort(state.ServerURL))
}

// listener finds the ports at which nginx ("listen 127.0.0.1:6443;") or HAProxy ("bind *:6443")
// listens.
var listener = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(?:listen|bind)\s+(?:\S*:)?([0-9]+)(?:[\s;]|$)`) })

// proxied reads what stands behind nginx or HAProxy, where it listens at one of the ports: "server
// 192.0.2.1:6443;" and "server NAME 192.0.2.1:6443 check". One that does not is another service's.
func proxied(data []byte, ports []uint16) (out []string) {
	ours := false
	_ = host.Lines(data, func(line string) error {
		if m := listener().FindStringSubmatch(line); m != nil {
			port, err := strconv.ParseUint(m[1], 10, 16)
			ours = ours || err == nil && slices.Contains(ports, uint16(port))
		}
		fields := strings.Fields(strings.TrimRight(line, "; "))
		if len(fields) < 2 || fields[0] != "server" {
			return nil
		}
		for _, at := range fields[1:min(len(fields), 3)] {
			if _, _, err := net.SplitHostPort(strings.TrimRight(at, ";")); err == nil {
				out = append(out, strings.TrimRight(at, ";"))
				break
			}
		}
		return nil
	})
	if !ours {
		return nil
	}
	return out
}

// apiPorts are those of the API server of kubeadm and most others, of k3s's load balancer, and of
// RKE2's supervisor.
var apiPorts = []uint16{6443, 6444, 9345}

// connections gives the other ends of established connections of user 0 to one of the ports, or to
// one of apiPorts, which are not on this host, as far as /proc/net/tcp has them (kernel
// Documentation/networking/proc_net_tcp.rst). Port 443 is everybody's: a registry of images is no
// API server.
func (k *Kubelet) connections(ctx context.Context, file string, ports []uint16) (out []netip.AddrPort, err error) {
	const established, remote, local, state, user = "01", 2, 1, 3, 7
	err = k.host.Each(file, func(line string) bool {
		f := strings.Fields(line)
		if len(f) <= user || f[state] != established || f[user] != "0" {
			return ctx.Err() == nil
		}
		far, near := kernelAddr(f[remote]), kernelAddr(f[local])
		right := slices.Contains(apiPorts, far.Port()) || far.Port() != 443 && slices.Contains(ports, far.Port())
		if right && far.Addr().IsGlobalUnicast() && far.Addr() != near.Addr() && !slices.Contains(out, far) {
			out = append(out, far)
		}
		return ctx.Err() == nil && len(out) < maxServers
	})
	if errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6
		err = nil
	}
	return out, errors.Join(err, ctx.Err())
}

// kernelAddr reads an address and a port as the kernel writes them: 32 bits at a time in the order
// of the machine, the port in the usual one.
func kernelAddr(text string) netip.AddrPort {
	address, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(address)
	n, failed := strconv.ParseUint(port, 16, 16)
	if err != nil || failed != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	a, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(a.Unmap(), uint16(n))
}
