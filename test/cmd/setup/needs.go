package main

import (
	"fmt"
	"regexp"
	"slices"

	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/rootfs"
	"multinicd/test/bed/vm"
)

// needs is what is to be made.
type needs struct {
	// suites are those of Debian, in the order in which they are made.
	suites []string
	// ifcfg is a NetworkManager with that plugin, for hosts of the default suite.
	ifcfg bool
	// controllers are the control plane's, beside the API server; nodes are kubelet, containerd, runc, and helm.
	controllers, nodes bool
	// openstack is the root file system of a host with Keystone and Neutron.
	openstack bool
	// machines are the images of virtual machines.
	machines []vm.Kind
	packages prerequisite.More
}

var codename = regexp.MustCompile(`^[a-z]+$`)

// parse says what the arguments ask for.
func parse(args []string) (needs, error) {
	if slices.Contains(args, "demo") {
		if len(args) > 1 {
			return needs{}, fmt.Errorf("setup demo makes no more than that: leave the other arguments out, or demo")
		}
		return needs{suites: []string{rootfs.DefaultSuite}}, nil
	}
	n := needs{controllers: true, packages: prerequisite.More{Compiler: true, Servers: true}}
	for _, arg := range args {
		switch {
		case arg == "kubelet":
			n.nodes, n.packages.ContainerRuntime = true, true
		case arg == "openstack":
			n.openstack = true
		case arg == "browser":
			n.packages.Browser = true
		case arg == "vm":
			n.machines, n.packages.Machines = vm.Kinds, true
		case codename.MatchString(arg):
			n.suites = append(n.suites, arg)
		default:
			return needs{}, fmt.Errorf("%q is no Debian suite; arguments are suites (bookworm, trixie, forky), kubelet, openstack, vm, browser, or demo alone", arg)
		}
	}
	if len(n.suites) == 0 {
		n.suites = []string{rootfs.DefaultSuite}
	}
	n.ifcfg = slices.Contains(n.suites, rootfs.DefaultSuite)
	return n, nil
}
