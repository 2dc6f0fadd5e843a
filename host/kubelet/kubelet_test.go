package kubelet

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"multinicd/host"
	"multinicd/internal/hosttest"
	"multinicd/nic"
)

func newKubelet(t testing.TB) *Kubelet {
	t.Helper()
	return New(&host.Host{Root: t.TempDir()})
}

// files is a process as /proc shows it, 812, with the user and the cgroup of p.unit: a path from
// its root, or a service of the system.
func (p process) files(uid string) map[string]string {
	if !strings.HasPrefix(p.unit, "/") {
		p.unit = "/system.slice/" + p.unit
	}
	numbers := "812"
	if p.pid != "" {
		numbers = p.pid
	}
	return map[string]string{
		"/proc/812/comm": p.name + "\n", "/proc/812/cgroup": "9:name=systemd:/\n4:memory:/other\n0::" + p.unit + "\n",
		"/proc/812/status":  fmt.Sprintf("Name:\t%s\nUid:\t%[2]s\t%[2]s\t%[2]s\t%[2]s\nNSpid:\t%[3]s\n", p.name, uid, numbers),
		"/proc/812/cmdline": strings.ReplaceAll(p.arguments, " ", "\x00") + "\x00",
	}
}

// running is a process of root's in a service, without arguments.
func running(name, unit string) map[string]string { return process{name: name, unit: unit}.files("0") }

// kubeletWith is a kubelet of the host's, as systemd starts it.
func kubeletWith(arguments string) process {
	return process{name: "kubelet", unit: "kubelet.service", arguments: "/usr/bin/kubelet " + arguments}
}

// with puts files together.
func with(all ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, files := range all {
		maps.Copy(out, files)
	}
	return out
}

// k3sUnit is what k3s's installer writes.
func k3sUnit(arguments string) string {
	return "[Service]\nType=notify\nEnvironmentFile=-/etc/default/%N\nExecStart=/usr/local/bin/k3s \\\n    agent \\\n" + arguments + "\n"
}

// podCgroup is where a Pod's processes are.
const podCgroup = "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice/cri-containerd-2.scope"

func TestNodeAddrs(t *testing.T) {
	const (
		flagged = "--node-ip=192.0.2.11"
		env     = "/etc/default/kubelet"
		isEnv   = "192.0.2.11: /etc/default/kubelet gives the kubelet this address with --node-ip"
		isRun   = "192.0.2.11: process 812 (kubelet of kubelet.service) gives the kubelet this address with --node-ip"
		unit    = "/etc/systemd/system/k3s-agent.service"
		isUnit  = "192.0.2.11: " + unit + " gives the kubelet this address with --node-ip"
		hosts   = "127.0.0.1 localhost\n127.0.1.1 worker-1\n192.0.2.99 worker-1\n192.0.2.11 worker-1.example.org worker-1 # primary\n198.51.100.11 worker-1\n2001:db8::11 worker-1\n"
		chosen  = "192.0.2.11: the kubelet is told no address, and takes the one that /etc/hosts has for worker-1"
	)
	config := map[string]string{"/var/lib/kubelet/config.yaml": ""}
	name := map[string]string{"/proc/sys/kernel/hostname": "worker-1\n", "/etc/hosts": hosts}
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("10.0.%d.%d", i/250, i%250+1))
	}
	for title, test := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no kubelet":            {},
		"kubeadm":               {files: map[string]string{"/var/lib/kubelet/kubeadm-flags.env": `KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix:///run/containerd/containerd.sock --node-ip=192.0.2.11 --pod-infra-container-image=x"`}, want: strings.Replace(isEnv, env, "/var/lib/kubelet/kubeadm-flags.env", 1)},
		"both families":         {files: map[string]string{env: "KUBELET_EXTRA_ARGS=--node-ip=2001:db8::11,192.0.2.11\n"}, want: isEnv + "\n" + strings.Replace(isEnv, "192.0.2.11", "2001:db8::11", 1)},
		"a drop-in":             {files: map[string]string{"/etc/systemd/system/kubelet.service.d/20-ip.conf": "[Service]\nEnvironment=\"KUBELET_EXTRA_ARGS=--node-ip 192.0.2.11\"\n"}, want: strings.Replace(isEnv, env, "/etc/systemd/system/kubelet.service.d/20-ip.conf", 1)},
		"kubespray":             {files: map[string]string{"/etc/kubernetes/kubelet.env": "KUBELET_ADDRESS=\"--node-ip=192.0.2.11\"\nKUBELET_HOSTNAME=\"--hostname-override=w1\"\n"}, want: strings.Replace(isEnv, env, "/etc/kubernetes/kubelet.env", 1)},
		"RHEL":                  {files: map[string]string{"/etc/sysconfig/kubelet": "KUBELET_EXTRA_ARGS='--node-ip=192.0.2.11'\n"}, want: strings.Replace(isEnv, env, "/etc/sysconfig/kubelet", 1)},
		"a comment":             {files: map[string]string{env: "#KUBELET_EXTRA_ARGS=--node-ip=192.0.2.11\n"}},
		"a family only":         {files: map[string]string{env: "KUBELET_EXTRA_ARGS=--node-ip=0.0.0.0\n"}},
		"another flag":          {files: map[string]string{env: "A=--some-node-ip=192.0.2.11 --node-ip-x=192.0.2.12\n"}},
		"something that is not": {files: map[string]string{env: "A=--node-ip=localhost\n"}},
		"of a flag in two ways": {files: with(kubeletWith("--node-ip 192.0.2.11").files("0"), map[string]string{env: "A=--node-ip=192.0.2.11\n"}), want: isRun},
		"a thousand in a file":  {files: map[string]string{env: "A=--node-ip=" + strings.Join(many, ",")}, want: "8 addresses"},

		"a running kubelet":                  {files: kubeletWith("--v=2 --node-ip=192.0.2.11").files("0"), want: isRun},
		"one in a slice of its own":          {files: process{name: "kubelet", unit: "/podruntime.slice/kubelet.service", arguments: flagged}.files("0"), want: isRun},
		"one as a Job sees it":               {files: process{name: "kubelet", unit: "/../../../system.slice/kubelet.service", arguments: flagged}.files("0"), want: isRun},
		"one whose cgroups are of version 1": {files: with(kubeletWith(flagged).files("0"), map[string]string{"/proc/812/cgroup": "4:memory:/system.slice\n1:name=systemd:/system.slice/kubelet.service\n"}), want: isRun},
		"rke2's kubelet":                     {files: process{name: "kubelet", unit: "rke2-agent.service", arguments: flagged}.files("0"), want: strings.Replace(isRun, "kubelet.service", "rke2-agent.service", 1)},
		"another program of the service":     {files: process{name: "grep", unit: "kubelet.service", arguments: flagged}.files("0")},
		"with more than 64 KiB of arguments": {files: kubeletWith("--v=" + strings.Repeat("2", 64<<10) + " --node-ip=192.0.2.11").files("0")},

		"nobody's process that is called kubelet":         {files: kubeletWith(flagged).files("65534")},
		"root's process of a Pod, called kubelet":         {files: process{name: "kubelet", unit: podCgroup, arguments: flagged}.files("0")},
		"a Pod whose cgroup is called like the service":   {files: process{name: "kubelet", unit: podCgroup + "/system.slice/kubelet.service", arguments: flagged}.files("0")},
		"a service of such a name in the slice of Pods":   {files: process{name: "kubelet", unit: "/kubepods.slice/kubepods-x.slice/kubelet.service", arguments: flagged}.files("0")},
		"a container with a systemd of its own":           {files: process{name: "kubelet", unit: "/docker/0a1b/system.slice/kubelet.service", arguments: flagged}.files("0")},
		"a user's service of such a name":                 {files: process{name: "kubelet", unit: "/user.slice/user-0.slice/user@0.service/app.slice/kubelet.service", arguments: flagged}.files("0")},
		"root's process at a shell":                       {files: process{name: "kubelet", unit: "/user.slice/user-0.slice/session-1.scope", arguments: flagged}.files("0")},
		"root's process in another namespace of PIDs":     {files: process{name: "kubelet", pid: "812\t17", unit: "kubelet.service", arguments: flagged}.files("0")},
		"a process that has given up root for the moment": {files: with(kubeletWith(flagged).files("0"), map[string]string{"/proc/812/status": "Uid:\t0\t1000\t0\t1000\nNSpid:\t812\n"})},

		"k3s, a flag and its value on two lines": {files: map[string]string{unit: k3sUnit("\t'--node-ip' \\\n\t'192.0.2.11' \\\n")}, want: isUnit},
		"k3s, both in one word":                  {files: map[string]string{unit: k3sUnit("\t'--node-ip=192.0.2.11' \\\n")}, want: isUnit},
		"k3s, by the short flag":                 {files: map[string]string{unit: k3sUnit("\t'-i' \\\n\t'192.0.2.11' \\\n")}, want: strings.Replace(isUnit, "--node-ip", "-i", 1)},
		"k3s, a comment between the lines":       {files: map[string]string{unit: k3sUnit("\t'--node-ip' \\\n# '192.0.2.99' \\\n\t'192.0.2.11' \\\n")}, want: isUnit},
		"k3s that hides its arguments":           {files: with(process{name: "k3s-agent", unit: "k3s-agent.service", arguments: "/usr/local/bin/k3s agent"}.files("0"), map[string]string{unit: k3sUnit("\t'--node-ip' \\\n\t'192.0.2.11' \\\n")}), want: isUnit},
		"k3s's environment":                      {files: map[string]string{"/etc/systemd/system/k3s.service.env": "K3S_ARGS='--node-ip=192.0.2.11'\n"}, want: strings.Replace(isUnit, unit, "/etc/systemd/system/k3s.service.env", 1)},
		"k3s's settings":                         {files: map[string]string{"/etc/rancher/k3s/config.yaml": "write-kubeconfig-mode: \"0644\"\nnode-ip: \"192.0.2.11\"\n"}, want: "192.0.2.11: /etc/rancher/k3s/config.yaml gives the kubelet this address with node-ip"},
		"k3s's settings, a list":                 {files: map[string]string{"/etc/rancher/k3s/config.yaml.d/10.yaml": "node-ip+:\n- 192.0.2.11\n"}, want: "192.0.2.11: /etc/rancher/k3s/config.yaml.d/10.yaml gives the kubelet this address with node-ip"},
		"RKE2's settings, as the kubelet's flag": {files: map[string]string{"/etc/rancher/rke2/config.yaml": "kubelet-arg:\n- v=2\n- node-ip=192.0.2.11\n"}, want: "192.0.2.11: /etc/rancher/rke2/config.yaml gives the kubelet this address with node-ip"},
		"RKE2's unit":                            {files: map[string]string{"/usr/local/lib/systemd/system/rke2-agent.service": "[Service]\nExecStart=/usr/local/bin/rke2 agent --node-ip 192.0.2.11\n"}, want: strings.Replace(isUnit, unit, "/usr/local/lib/systemd/system/rke2-agent.service", 1)},
		"MicroK8s":                               {files: map[string]string{"/var/snap/microk8s/current/args/kubelet": "--kubeconfig=x\n--node-ip=192.0.2.11\n"}, want: strings.Replace(isUnit, unit, "/var/snap/microk8s/current/args/kubelet", 1)},
		"settings that are no YAML":              {files: map[string]string{"/etc/rancher/k3s/config.yaml": "node-ip: [192.0.2.11\n"}},

		"told nothing, with a name in /etc/hosts":             {files: with(config, name), want: chosen},
		"told nothing, IPv6 only":                             {files: with(config, name, map[string]string{"/etc/hosts": "2001:db8::11 worker-1\n127.0.1.1 worker-1\n"}), want: strings.Replace(chosen, "192.0.2.11", "2001:db8::11", 1)},
		"told nothing, and no such name":                      {files: with(config, name, map[string]string{"/proc/sys/kernel/hostname": "worker-2\n"})},
		"told a name only, which is another than the host's":  {files: with(name, map[string]string{env: "A=--hostname-override=worker-1", "/proc/sys/kernel/hostname": "worker-1.novalocal\n"}), want: chosen},
		"told nothing, and /etc/hosts has the loopback alone": {files: with(config, name, map[string]string{"/etc/hosts": "127.0.1.1 worker-1\n::1 worker-1\n"})},
		"a name in /etc/hosts, and no kubelet":                {files: name},
		"told an address, and /etc/hosts has another":         {files: with(name, map[string]string{env: "A=--node-ip=192.0.2.12"}), want: strings.Replace(isEnv, "2.11", "2.12", 1)},
	} {
		t.Run(title, func(t *testing.T) {
			k := newKubelet(t)
			hosttest.Files(t, k.host.Root, test.files)
			for range 2 { // the second answer is remembered
				var got []string
				for _, a := range k.NodeAddrs(t.Context(), linksWith("192.0.2.11/24", "198.51.100.11/24", "2001:db8::11/64", "127.0.0.1/8")) {
					got = append(got, a.Addr.String()+": "+a.Evidence)
				}
				if test.want == "8 addresses" {
					if len(got) != maxNodeAddrs {
						t.Errorf("got %d addresses", len(got))
					}
				} else if text := strings.Join(got, "\n"); text != test.want {
					t.Errorf("got\n%s\nwant\n%s", text, test.want)
				}
			}
		})
	}
}

// linksWith gives a link for each address.
func linksWith(addresses ...string) (out []nic.Link) {
	for i, a := range addresses {
		out = append(out, nic.Link{Index: i + 1, Addresses: []nic.Address{{Prefix: netip.MustParsePrefix(a)}}})
	}
	return out
}

func TestNodeName(t *testing.T) {
	const env = "/etc/default/kubelet"
	for title, test := range map[string]struct {
		files map[string]string
		want  string
	}{
		"nobody says":                      {want: " "},
		"kubeadm":                          {map[string]string{"/var/lib/kubelet/kubeadm-flags.env": `KUBELET_KUBEADM_ARGS="--hostname-override=Worker-Node-01"`}, "worker-node-01 /var/lib/kubelet/kubeadm-flags.env gives the kubelet this name with --hostname-override"},
		"a process before a file":          {with(kubeletWith("--hostname-override=run").files("0"), map[string]string{env: "A=--hostname-override=file"}), "run process 812 (kubelet of kubelet.service) gives the kubelet this name with --hostname-override"},
		"of two flags the last":            {kubeletWith("--hostname-override=a --hostname-override=b").files("0"), "b process 812 (kubelet of kubelet.service) gives the kubelet this name with --hostname-override"},
		"nobody's process":                 {process{name: "kubelet", unit: "kubelet.service", arguments: "--hostname-override=evil"}.files("65534"), " "},
		"what systemd would replace":       {map[string]string{env: "A=--hostname-override=%H"}, " "},
		"what a shell would replace":       {map[string]string{env: "A=--hostname-override=$(hostname)"}, " "},
		"k3s's environment":                {map[string]string{"/etc/systemd/system/k3s-agent.service.env": "K3S_NODE_NAME='w1'\n"}, "w1 /etc/systemd/system/k3s-agent.service.env gives the kubelet this name with K3S_NODE_NAME"},
		"k3s's unit, name on its own line": {map[string]string{"/etc/systemd/system/k3s.service": k3sUnit("\t'--node-name' \\\n\t'w1' \\\n")}, "w1 /etc/systemd/system/k3s.service gives the kubelet this name with --node-name"},
		"RKE2's settings":                  {map[string]string{"/etc/rancher/rke2/config.yaml": "node-name: w1\n"}, "w1 /etc/rancher/rke2/config.yaml gives the kubelet this name with node-name"},
	} {
		t.Run(title, func(t *testing.T) {
			k := newKubelet(t)
			hosttest.Files(t, k.host.Root, test.files)
			name, evidence := k.NodeName(t.Context())
			if got := name + " " + evidence; got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestShown(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		want  string // in the evidence
	}{
		"nobody":                             {},
		"a kubelet that runs":                {files: running("kubelet", "kubelet.service"), want: "kubelet runs"},
		"a k3s that runs":                    {files: running("k3s-server", "k3s.service"), want: "k3s-server runs"},
		"MicroK8s that runs":                 {files: running("kubelite", "snap.microk8s.daemon-kubelite.service"), want: "kubelite runs"},
		"a kubelet of nobody's":              {files: process{name: "kubelet", unit: "kubelet.service"}.files("1000")},
		"k3s that is installed":              {files: map[string]string{"/etc/systemd/system/k3s-agent.service": k3sUnit("")}, want: "/etc/systemd/system/k3s-agent.service"},
		"a kubelet that is configured":       {files: map[string]string{"/var/lib/kubelet/config.yaml": ""}, want: "/var/lib/kubelet/config.yaml"},
		"something that is like one by name": {files: map[string]string{"/proc/7/comm": "kubelet-exporter\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKubelet(t)
			hosttest.Files(t, k.host.Root, test.files)
			if got := k.Shown(t.Context()); !strings.Contains(got, test.want) || (got == "") != (test.want == "") {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// A walk over many processes ends with the question, keeps what was known, and is made again.
func TestAWalkThatIsCutOffForgetsNothing(t *testing.T) {
	k := newKubelet(t)
	hosttest.Files(t, k.host.Root, kubeletWith("--node-ip=192.0.2.11").files("0"))
	ask := func(ctx context.Context) int { return len(k.NodeAddrs(ctx, nil)) }
	ended, end := context.WithCancel(t.Context())
	end()
	if got := ask(ended); got != 0 {
		t.Errorf("cut off at first: %d addresses", got)
	}
	if got := ask(t.Context()); got != 1 {
		t.Errorf("asked again: %d addresses", got)
	}
	k.told.asked = k.told.asked.Add(-2 * toldAge)
	if got := ask(ended); got != 1 {
		t.Errorf("cut off afterwards: %d addresses", got)
	}
	if !k.told.asked.IsZero() {
		t.Error("what was cut off is taken for an answer")
	}
}

// What cannot be read just now has not gone away.
func TestWhatCannotBeReadJustNowIsNotTakenForAbsent(t *testing.T) {
	k := newKubelet(t)
	hosttest.Files(t, k.host.Root, map[string]string{"/etc/kubernetes/kubelet.env": "KUBELET_EXTRA_ARGS=--node-ip=192.0.2.7\n"})
	ips := func() string {
		var out []string
		for _, a := range k.NodeAddrs(t.Context(), nil) {
			out = append(out, a.Addr.String())
		}
		return fmt.Sprint(out)
	}
	hosttest.WithoutFiles(t, func() { ips() })
	if got := ips(); got != "[192.0.2.7]" {
		t.Errorf("once it can be read, the node's addresses are %s", got)
	}
	k.told.asked = k.told.asked.Add(-time.Hour) // the answer is old
	hosttest.WithoutFiles(t, func() {
		if got := ips(); got != "[192.0.2.7]" {
			t.Errorf("afterwards, the node's addresses are %s", got)
		}
	})
}
