package kubelet

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// process is one that is a kubelet.
type process struct {
	name      string // "kubelet", "k3s-agent", ...
	pid       string
	unit      string // its service
	arguments string // parted by blanks; of k3s only its title
}

func (p process) String() string {
	return fmt.Sprintf("process %s (%s of %s)", p.pid, p.name, p.unit)
}

// kubeletNames are what programs with a kubelet in them call themselves. k3s adds what it is.
// MicroK8s has kubelite.
var kubeletNames = []string{"kubelet", "k3s", "k3s-agent", "k3s-server", "rke2", "hyperkube", "kubelite"}

// kubeletUnits are the services of the host in which such a program runs.
var kubeletUnits = []string{"kubelet.service", "k3s*.service", "rke2*.service", "snap.microk8s.*.service"}

// kubelets gives the processes that are a kubelet of this host, by root's word: one counts if it
// belongs to user 0 in all respects, if the host's namespace of processes is its own, and if its
// cgroup is that of such a service of the host's. A process of a Pod or of a user says nothing,
// whatever it calls itself: the guard would protect whatever link it names. Of a command line 64
// KiB are read.
func (k *Kubelet) kubelets(ctx context.Context) (out []process, err error) {
	names, err := k.host.Glob("/proc/[0-9]*/comm")
	for _, f := range names {
		if ctx.Err() != nil {
			return out, errors.Join(err, ctx.Err())
		}
		read := func(name string) string {
			data, failed := k.host.Head(path.Join(path.Dir(f), name), maxWords)
			err = errors.Join(err, failed) // mostly one that has ended meanwhile
			return string(data)
		}
		p := process{name: strings.TrimSpace(read("comm")), pid: path.Base(path.Dir(f))}
		if !slices.Contains(kubeletNames, p.name) || !hostsRoot(read("status")) {
			continue
		}
		if p.unit = serviceOf(read("cgroup")); p.unit == "" {
			continue
		}
		p.arguments = strings.TrimSpace(strings.ReplaceAll(read("cmdline"), "\x00", " "))
		out = append(out, p)
	}
	return out, err
}

// hostsRoot says, by /proc/PID/status, whether a process belongs to user 0, real, effective, saved
// and of its files, and is in no other namespace of processes than the one that /proc shows: it has
// one number then (proc(5)).
func hostsRoot(status string) bool {
	root, one := false, true
	for line := range strings.Lines(status) {
		key, value, _ := strings.Cut(line, ":")
		fields := strings.Fields(value)
		switch key {
		case "Uid":
			root = slices.Equal(fields, []string{"0", "0", "0", "0"})
		case "NSpid":
			one = len(fields) == 1
		}
	}
	return root && one
}

// serviceOf gives the service out of kubeletUnits whose cgroup /proc/PID/cgroup names, "" where it
// is another one's. Above the service there are slices only, and none of Pods, users or machines. A
// Job sees the path relative to its own: "/../../system.slice/...".
func serviceOf(cgroup string) string {
	for line := range strings.Lines(strings.TrimSpace(cgroup)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) < 3 || fields[1] != "" && fields[1] != "name=systemd" {
			continue
		}
		for _, segment := range strings.Split(strings.Trim(fields[2], "/"), "/") {
			if slices.ContainsFunc(kubeletUnits, func(u string) bool { ok, _ := path.Match(u, segment); return ok }) {
				return segment
			}
			name, slice := strings.CutSuffix(segment, ".slice")
			head, _, _ := strings.Cut(name, "-")
			if segment != ".." && (!slice || head == "kubepods" || head == "user" || head == "machine") {
				break
			}
		}
	}
	return ""
}
