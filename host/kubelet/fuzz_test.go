package kubelet

import (
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"multinicd/host"
	"multinicd/internal/hosttest"
	"multinicd/nic"
)

// FuzzWhatTheKubeletIsTold: whatever stands in the files and in the command line that root writes
// for a kubelet, at most eight addresses are believed, each once, and a name is one of a node.
func FuzzWhatTheKubeletIsTold(f *testing.F) {
	f.Add([]byte("[Service]\nExecStart=/usr/bin/kubelet --node-ip=192.0.2.1,2001:db8::1 \\\n  --hostname-override 'Worker-1'\n"))
	f.Add([]byte("KUBELET_EXTRA_ARGS=\"--node-ip 0.0.0.0 --node-name=%H\"\nK3S_URL=https://192.0.2.1:6443\nK3S_NODE_NAME=a"))
	f.Add([]byte("node-ip: [192.0.2.1, ::ffff:192.0.2.1]\nkubelet-arg+: [\"node-ip=::1\", {a: b}]\nserver: https://[::1]:6443\nnode-name: 1\n"))
	f.Add([]byte("'/usr/local/bin/k3s' \\\n    server \\\n\t'-i' \\\n\t'192.0.2.1' \\\n"))
	f.Add([]byte("a: &a [*a]\n<<: *a\n? [x]\n: y\n"))
	links := []nic.Link{{Index: 2, Name: "eth0", Addresses: []nic.Address{{Prefix: netip.MustParsePrefix("192.0.2.1/24")}}}}
	f.Fuzz(func(t *testing.T, data []byte) {
		var all []word
		for _, from := range kubeletFiles {
			all = append(all, from.read(data, "/f")...)
		}
		all = append(all, flags(strings.ReplaceAll(string(data), "\x00", " "), "process 1")...)
		for _, w := range all {
			if w.key == "" || w.value == "" || w.as == "" || w.where == "" {
				t.Errorf("a word is %+v", w)
			}
		}
		k := New(&host.Host{Root: "/nonexistent"}) // what was found is known already
		k.told.last, k.told.asked = told{by: "it is there", words: all}, time.Now()
		addresses := k.NodeAddrs(t.Context(), links)
		if len(addresses) > maxNodeAddrs {
			t.Errorf("%d addresses are believed", len(addresses))
		}
		for i, a := range addresses {
			if !a.Addr.IsValid() || a.Addr.IsUnspecified() || a.Addr.Is4In6() || a.Evidence == "" || i > 0 && addresses[i-1].Addr.Compare(a.Addr) >= 0 {
				t.Errorf("address %d is %+v", i, a)
			}
		}
		if name, evidence := k.NodeName(t.Context()); name != "" && (!nodeName().MatchString(name) || evidence == "") {
			t.Errorf("the name is %q by %q", name, evidence)
		}
	})
}

// FuzzAPIServers: whatever other programs have written about API servers, each that is given has a
// host and a port, and there is a bound.
func FuzzAPIServers(f *testing.F) {
	f.Add([]byte("clusters: [{cluster: {server: \"https://192.0.2.1\"}}, {cluster: {server: 5}}]\n"))
	f.Add([]byte(`{"ServerURL":"https://192.0.2.1:6443","ServerAddresses":["[::1]:6443","x"],"Servers":[":1"]}`))
	f.Add([]byte("listen 127.0.0.1:6443;\n server 192.0.2.1:6443;\nbind *:6443\nserver NAME 192.0.2.2:6443 check\nserver ;;;\n"))
	f.Add([]byte("  sl  local_address rem_address   st\n   0: 0A0200C0:9C40 010200C0:192B 01 00000000:00000000 00:00000000 00000000     0        0 1 1\n   1: 00:zz x:1 01 a b c 0\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		k := newKubelet(t)
		hosttest.Files(t, k.host.Root, map[string]string{
			kubeletConf: string(data), "/var/lib/rancher/k3s/agent/etc/k3s-agent-load-balancer.json": string(data), "/etc/nginx/nginx.conf": string(data),
			"/etc/haproxy/haproxy.cfg": string(data), "/proc/net/tcp": string(data), "/proc/net/tcp6": string(data), "/proc/sys/kernel/hostname": "n\n", "/etc/hosts": string(data),
		})
		found, err := k.APIServers(t.Context(), 6443)
		if err != nil {
			t.Error(err)
		}
		if len(found) > maxServers {
			t.Errorf("%d servers are given", len(found))
		}
		for i, a := range found {
			if a.Host == "" || a.Evidence == "" || slices.Contains(found[:i], a) {
				t.Errorf("server %d is %+v", i, a)
			}
			if _, _, err := net.SplitHostPort(net.JoinHostPort(a.Host, "1")); err != nil {
				t.Errorf("server %d is %+v: %v", i, a, err)
			}
		}
	})
}

// FuzzProcess: what a process says of itself makes it the host's kubelet only where its service is
// one of the host's.
func FuzzProcess(f *testing.F) {
	f.Add("Uid:\t0\t0\t0\t0\nNSpid:\t1\n", "0::/system.slice/kubelet.service\n")
	f.Add("Uid:\t0\t0\t0\t0\nNSpid:\t1\t1\n", "0::/kubepods.slice/kubepods-pod1.slice/kubelet.service\n")
	f.Add("Uid:\nUid:\t0\t0\t0\t0", "1:name=systemd:/../../system.slice/k3s-agent.service\n::\n:\n")
	f.Fuzz(func(t *testing.T, status, cgroup string) {
		hostsRoot(status)
		unit := serviceOf(cgroup)
		if !utf8.ValidString(unit) || unit == "" {
			return // the expression below cannot have it
		}
		above := regexp.MustCompile(`(?m)^[^:]*:(?:name=systemd)?:/*((?:\.\.|[^/\n]*\.slice)/)*` + regexp.QuoteMeta(unit))
		foreign := regexp.MustCompile(`[:/](?:kubepods|user|machine)(?:-[^/]*)?\.slice/`)
		for _, path := range above.FindAllString(cgroup, -1) {
			if !foreign.MatchString(path) {
				return
			}
		}
		t.Errorf("%q gives the service %s", cgroup, unit)
	})
}
