package survey

import (
	"testing"

	"multinicd/internal/hosttest"
	"multinicd/nic"

	"github.com/google/go-cmp/cmp"
)

// What the former agent left is known by its name and by the MAC in it, and is no claim of anybody.
func TestFormer(t *testing.T) {
	const one = yamlHead + "    multinic1: {match: {macaddress: \"02:00:00:00:01:01\"}, set-name: multinic1}\n"
	const link = "[Match]\nMACAddress=02:00:00:00:01:01\n[Link]\nName=multinic1\n"
	for name, test := range map[string]struct {
		files map[string]string
		want  []string
		claim string // the file that still claims the link
	}{
		"a bare machine":                  {},
		"a YAML and a link":               {files: map[string]string{"/etc/netplan/91-multinic1.yaml": one, "/etc/systemd/network/91-multinic1.link": link}, want: []string{"/etc/netplan/91-multinic1.yaml", "/etc/systemd/network/91-multinic1.link"}},
		"a MAC without quotes":            {files: map[string]string{"/etc/netplan/91-multinic1.yaml": yamlHead + "    x: {match: {macaddress: 02:00:00:00:01:01}}\n"}, want: []string{"/etc/netplan/91-multinic1.yaml"}},
		"ours":                            {files: map[string]string{"/etc/netplan/90-multinic1.yaml": "# Written by multinicd: x\n" + one}},
		"a name of ours without our word": {files: map[string]string{"/etc/netplan/90-multinic0.yaml": one}, want: []string{"/etc/netplan/90-multinic0.yaml"}},
		"a profile of NetworkManager": {files: map[string]string{"/etc/NetworkManager/system-connections/91-multinic1.nmconnection": "[connection]\ntype=ethernet\nuuid=u1\n[ethernet]\nmac-address=02:00:00:00:01:01\n",
			"/run/NetworkManager/devices/3": "[device]\nconnection-uuid=u1\n"}, want: []string{"/etc/NetworkManager/system-connections/91-multinic1.nmconnection"}},
		"a profile of another MAC": {files: map[string]string{"/etc/NetworkManager/system-connections/91-multinic1.nmconnection": "[connection]\ntype=ethernet\n[ethernet]\nmac-address=02:00:00:00:01:02\n"}},
		"a profile of a name that is not the agent's": {files: map[string]string{"/etc/NetworkManager/system-connections/91-multinic1.nmconnection": "[connection]\ntype=ethernet\ninterface-name=ens4\n"},
			claim: "/etc/NetworkManager/system-connections/91-multinic1.nmconnection"},
		"an ifcfg file":         {files: map[string]string{"/etc/sysconfig/network-scripts/ifcfg-multinic1": "HWADDR=02:00:00:00:01:01\n"}, want: []string{"/etc/sysconfig/network-scripts/ifcfg-multinic1"}},
		"another's name":        {files: map[string]string{"/etc/netplan/91-nic1.yaml": one}, claim: "/etc/netplan/91-nic1.yaml"},
		"another NIC":           {files: map[string]string{"/etc/netplan/91-multinic1.yaml": yamlHead + "    multinic1: {match: {macaddress: \"02:00:00:00:01:02\"}}\n"}},
		"two NICs":              {files: map[string]string{"/etc/netplan/91-multinic1.yaml": one + "    other: {match: {macaddress: \"02:00:00:00:01:02\"}}\n"}, claim: "/etc/netplan/91-multinic1.yaml"},
		"a NIC and all others":  {files: map[string]string{"/etc/netplan/91-multinic1.yaml": one + "    other: {match: {name: \"en*\"}}\n"}, claim: "/etc/netplan/91-multinic1.yaml"},
		"a NIC and a bridge":    {files: map[string]string{"/etc/netplan/91-multinic1.yaml": one + "  bridges: {br0: {interfaces: [multinic1]}}\n"}, claim: "/etc/netplan/91-multinic1.yaml"},
		"no YAML":               {files: map[string]string{"/etc/netplan/91-multinic1.yaml": "{02:00:00:00:01:01"}, claim: "/etc/netplan/91-multinic1.yaml"},
		"what networkd made":    {files: map[string]string{"/etc/netplan/91-multinic1.yaml": yamlHead + "    lan: {match: {macaddress: \"02:00:00:00:01:01\"}}\n", "/run/systemd/netif/links/3": "ADMIN_STATE=configured\nNETWORK_FILE=/run/systemd/network/10-netplan-lan.network\n"}, want: []string{"/etc/netplan/91-multinic1.yaml"}},
		"another's beside that": {files: map[string]string{"/etc/netplan/91-multinic1.yaml": one, "/etc/netplan/95-mine.yaml": yamlHead + "    ens4: {dhcp4: true}\n"}, want: []string{"/etc/netplan/91-multinic1.yaml"}, claim: "/etc/netplan/95-mine.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSurvey(t)
			hosttest.Files(t, s.host.Root, readers)
			hosttest.Files(t, s.host.Root, test.files)
			got, err := s.Former(testLink)
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Errorf("-want +got: %s%v", diff, err)
			}
			claims, err := s.Claims(t.Context(), []nic.Link{testLink}, ourFile)
			claim := ""
			if c := claims[testLink.Index]; c != nil {
				claim = c.File
			}
			if err != nil || claim != test.claim {
				t.Errorf("claimed by %q, %v, want %q", claim, err, test.claim)
			}
		})
	}
}
