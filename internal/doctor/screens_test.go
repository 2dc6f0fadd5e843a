package doctor

import (
	"flag"
	"testing"

	"multinicd/internal/hosttest"
	"multinicd/internal/terminal/layout"
	"multinicd/nic"
)

var update = flag.Bool("update", false, "write golden files anew")

// What `multinicd doctor` shows.
func TestTheScreensOfTheDoctor(t *testing.T) {
	got := map[string]string{}
	for name, spoil := range map[string]func(f *Facts){
		"well": func(*Facts) {},
		"much-is-wrong": func(f *Facts) {
			f.NetworkdRuns, f.Foreign = true, []Setting{{Key: "ManageForeignRoutes"}}
			f.Links[1].Claim = &nic.Claim{Owner: "netplan", File: "/etc/netplan/60-person.yaml", Evidence: "/etc/netplan/60-person.yaml configures it as \"ens4\" (by MAC 02:00:00:00:01:02): written by a person"}
			f.Daemon.Failed = []string{"multinic2: AddressInUse: 192.0.2.11 is used by 02:00:00:00:09:09; the NIC stays as it is: 10.0.0.5/24; choose another address"}
			f.Files[1].Mode = 0o666
			f.Agents = []Agent{{"cloud-init", "/etc/cloud/cloud.cfg.d/90.cfg: hotplug is in updates.network.when"}}
		},
	} {
		f := well()
		f.Evidence = []string{"netplan 1.1.2 is installed", "/etc/netplan/50-cloud-init.yaml configures eth0", "renderer networkd, which runs"}
		f.Owners = map[int]string{1: "renderer networkd (netplan's files name networkd; networkd manages it)", 2: "renderer networkd (netplan's files name networkd; networkd manages it)"}
		f.Name = Name{Name: "worker-node-01", Evidence: "the kubelet's client certificate is of system:node:worker-node-01"}
		spoil(&f)
		hosttest.Screens(t, name, got, func(p layout.Page) string { return Text(Examine(f), p) })
	}
	hosttest.Golden(t, "testdata/screens", got, *update)
}
