package vm

import (
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/installed"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/testhost"
	"multinicd/test/bed/vm"
)

// cloud-init's hot-plug is on, and its config drive lists the NICs that are plugged in. cloud-init 22.4 goes by what it has read at the first boot, finds none of them, and
// gives up after a minute, whether the object names the NIC or not. Later somebody has cloud-init forget the instance, and boots. The NICs of the object are what it says
// all the same, and nobody fights.
func TestCloudInitHotPlugsAndForgets(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for _, kind := range prerequisite.Long(vm.Kinds[0]) {
		a := newAlone(t, vm.Options{Name: "hotplug", Kind: kind, NICs: ports[:1]}, cloudConfig{
			Updates: map[string]any{"network": map[string]any{"when": []string{"boot", "hotplug"}}},
		})
		one, two, three := installed.Entry(1, mac1, "192.168.100.10/24"), installed.Entry(2, mac2, "192.168.200.10/24"), installed.Entry(3, mac3, "192.168.110.10/24")
		a.serves("multinic1 Configured RenameAtReboot, multinic2 Pending WaitingForNIC", one, two)
		if got := a.Sh("multinicd doctor -v || true"); !strings.Contains(got, "other-agent") {
			t.Errorf("the doctor does not name cloud-init's hot-plug:\n%s", got)
		}

		a.hotPlugs(ports[1], "failed")
		a.ours("multinic2 is plugged in", mac1, "192.168.100.10/24", mac2, "192.168.200.10/24")
		a.says("multinic1 Configured RenameAtReboot, multinic2 Configured Configured")
		a.Sh("systemctl reset-failed cloud-init-hotplugd.service")

		a.hotPlugs(testhost.NIC{MAC: mac3, Segment: "data3"}, "failed")
		if got := a.Sh("cat /etc/netplan/50-cloud-init.yaml"); strings.Contains(got, mac3) {
			t.Errorf("cloud-init has written a NIC into its file that it has not found:\n%s", got)
		}
		a.Sh("systemctl reset-failed cloud-init-hotplugd.service")

		a.writeObject(objectFile, one, two, three)
		a.Sh("systemctl restart multinicd")
		a.ours("the object names the NIC that cloud-init has configured", mac1, "192.168.100.10/24", mac2, "192.168.200.10/24", mac3, "192.168.110.10/24")
		a.oneDefault("with three NICs")

		a.Sh("cloud-init clean; ! [ -e /var/lib/cloud/instance ]; rm /etc/netplan/50-cloud-init.yaml")
		a.boots(func() error { return a.Reboot(ctx) })
		if got := a.Sh("cat /etc/netplan/50-cloud-init.yaml"); !strings.Contains(got, mac1) || !strings.Contains(got, mac3) {
			t.Errorf("cloud-init has not written its file anew:\n%s", got)
		}
		a.says("multinic1 Configured Configured, multinic2 Configured Configured, multinic3 Configured Configured")
		a.links("after cloud-init clean and a boot", mac1, "multinic1 up mtu 1500 192.168.100.10/24", mac2, "multinic2 up mtu 1500 192.168.200.10/24", mac3, "multinic3 up mtu 1500 192.168.110.10/24")
		a.oneDefault("after cloud-init clean and a boot")
		a.isStill("after cloud-init clean and a boot")
	}
}

// hotPlugs plugs in a NIC of which cloud-init is told, and waits until its handler has tried, with this state at the end.
func (a *alone) hotPlugs(n testhost.NIC, end string) {
	a.t.Helper()
	if got := a.Sh("ls /etc/udev/rules.d"); !strings.Contains(got, "hotplug") {
		a.t.Fatalf("cloud-init's hot-plug is not on: there are rules %s", got)
	}
	const runs = "systemctl show --value --property=ExecMainStartTimestampMonotonic cloud-init-hotplugd.service"
	before := a.Sh(runs)
	if err := a.PlugAndTell(a.t.Context(), n); err != nil {
		a.t.Fatal(err)
	}
	bed.Eventually(a.t, "cloud-init's handler for "+n.MAC, "has run: "+end, func() string {
		// A handler that fails tries for 49 s.
		if a.Sh(runs) == before {
			return "has not run"
		}
		return "has run: " + a.Sh("systemctl is-active cloud-init-hotplugd.service || true")
	})
}

// ours waits until the links of MACs, whatever their names, are up and have these addresses and no others, in pairs.
func (a *alone) ours(when string, pairs ...string) {
	a.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		bed.Eventually(a.t, when+": link "+pairs[i], "up mtu 1500 "+pairs[i+1], func() string {
			_, rest, _ := strings.Cut(a.Link(pairs[i]), " ")
			return rest
		})
	}
}
