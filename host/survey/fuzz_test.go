package survey

import (
	"slices"
	"strings"
	"testing"

	"multinicd/internal/hosttest"
	"multinicd/nic"
)

// written are files in which somebody else writes, and that the survey reads whole. The claims of network managers have a target of their own.
var written = []string{
	"/sys/class/dmi/id/product_uuid", "/sys/hypervisor/uuid", "/var/lib/cloud/data/instance-id", "/run/cloud-init/instance-data.json",
	"/etc/cloud/cloud.cfg", "/var/lib/cloud/instance/cloud-config.txt", "/etc/resolv.conf", "/run/systemd/resolve/resolv.conf",
	"/etc/cni/net.d/10-x.conflist", "/proc/7/comm", "/proc/7/cmdline", "/proc/7/environ", "/proc/net/tcp", "/proc/net/tcp6", "/proc/stat",
	"/etc/udev/rules.d/70-x.rules", "/etc/netplan/50-x.yaml", "/etc/netplan/90-multinic1.yaml", "/etc/systemd/network/multinic1.network",
	"/etc/NetworkManager/system-connections/multinic1.nmconnection", "/etc/sysconfig/network-scripts/ifcfg-multinic1", "/etc/os-release",
	"/etc/NetworkManager/NetworkManager.conf", "/run/NetworkManager/devices/3", "/run/systemd/netif/links/3", "/etc/rancher/k3s/config.yaml",
}

// FuzzWhatOthersWrote: whatever stands in the files of clouds, resolvers, container networks, udev and the former agent, what is made of it is of
// the form that the rest of the daemon relies on.
func FuzzWhatOthersWrote(f *testing.F) {
	f.Add([]byte("12345678-1234-1234-1234-123456789ABC\n"))
	f.Add([]byte(`{"v1":{"instance-id":"i-0123456789abcdef0"},"ds":{"meta_data":{"uuid":"12345678-1234-1234-1234-123456789abc"}}}`))
	f.Add([]byte("updates: {network: {when: [boot, hotplug]}}\nnetwork: {ethernets: {renderer: x, a: {match: {macaddress: \"02:00:00:00:01:01\"}, set-name: b}}}\n"))
	f.Add([]byte("nameserver 192.0.2.53 x\nnameserver ::ffff:192.0.2.53\nnameserver fe80::1%eth0\nbtime -1\nplugins+=ifcfg-rh\n"))
	f.Add([]byte(`{"name":"x","plugins":[{"type":"calico","delegate":{"type":"flannel"}}]}`))
	f.Add([]byte("calico-node\n"))
	f.Add([]byte("IP_AUTODETECTION_METHOD=interface=\x1b[2J\x00--iface\x00eth0\x00"))
	f.Add([]byte("ATTR{address}==\"02:00:00:00:01:01\", \\\n NAME=\"x\"\n[Match]\nMACAddress=02:00:00:00:01:01\n[connection]\ntype=ethernet\n"))
	f.Add([]byte("  sl  local_address rem_address   st\n   0: 00000000:0016 00000000:0000 0A 0:0 0:0 0 0 0 55\n ADMIN_STATE=configured\nNETWORK_FILE=/etc/systemd/network/multinic1.network\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := newSurvey(t)
		files := map[string]string{}
		for _, name := range written {
			files[name] = string(data)
		}
		hosttest.Files(t, s.host.Root, files)
		hosttest.Files(t, s.host.Root, readers)
		ids := s.InstanceIDs()
		for _, id := range ids {
			if !uuid().MatchString(id) && !ec2().MatchString(id) || id != strings.ToLower(id) {
				t.Errorf("an instance id is %q", id)
			}
		}
		if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
			t.Errorf("the instance ids are %q", ids)
		}
		for file, servers := range s.NameServers() {
			for _, a := range servers {
				if !a.IsValid() || a.Is4In6() || a.IsLoopback() {
					t.Errorf("%s names %s", file, a)
				}
			}
		}
		listeners := s.Listeners()
		if len(listeners) > maxListeners || slices.ContainsFunc(listeners, func(l Listener) bool { return l.Port < 0 || l.Port > 0xffff }) {
			t.Errorf("the listeners are %v", listeners)
		}
		for _, c := range s.CNIs() {
			if c.Name == "" || c.File == "" {
				t.Errorf("a container network is %+v", c)
			}
		}
		for _, says := range s.Namers(testLink, "multinic1") {
			if !strings.Contains(says, "for its MAC") {
				t.Errorf("it is named: %q", says)
			}
		}
		ours := testLink
		ours.Name = "multinic1"
		links := []nic.Link{testLink, ours}
		former, err := s.Formers(links)
		if err != nil {
			t.Error(err)
		}
		for _, name := range former[testLink.Index] {
			if files[name] == "" && len(data) > 0 {
				t.Errorf("%s is nobody's", name)
			}
		}
		claims, err := s.Claims(t.Context(), links[:1], ourFile)
		if err != nil {
			return // what cannot be read is not taken for absent
		}
		if c := claims[testLink.Index]; c != nil && (c.Owner == "" || c.Evidence == "") {
			t.Errorf("the claim is %+v", c)
		}
		s.Agents()
		s.Booted()
	})
}
