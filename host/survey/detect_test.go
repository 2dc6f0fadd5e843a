package survey

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multinicd/host/bus"
	"multinicd/internal/hosttest"
	"multinicd/nic"
)

// What a file of a machine says, where its name alone counts.
const (
	hasNetplan  = "/usr/libexec/netplan/generate"
	hasOlder    = "/usr/lib/netplan/generate"
	hasNetworkd = "/run/systemd/netif/state"
	hasManager  = "/run/NetworkManager/devices/2"
	cloudInit   = "/etc/netplan/50-cloud-init.yaml"
	cloudYAML   = "network: {version: 2, ethernets: {ens3: {match: {macaddress: \"02:00:00:00:00:01\"}, set-name: ens3, dhcp4: true}}}"
)

func system(name string) string { return "PRETTY_NAME=\"" + name + "\"\n" }

// networkdHas is networkd's word on the link that is asked about.
func networkdHas(state string) string {
	return "# This is private data. Do not parse.\nADMIN_STATE=" + state + "\nOPER_STATE=routable\nNETWORK_FILE=/run/systemd/network/10-netplan-ens4.network\n"
}

const wordOnLink = "/run/systemd/netif/links/4"

// What NetworkManager says of that link.
var (
	free        = &bus.Device{Managed: true, State: 30, Reason: 40}
	unmanaged   = &bus.Device{State: 10, Reason: 3}
	byProfile   = &bus.Device{Managed: true, State: 100, File: "/etc/NetworkManager/system-connections/ens4.nmconnection"}
	byNetplan   = &bus.Device{Managed: true, State: 100, File: "/run/NetworkManager/system-connections/netplan-ens4.nmconnection"}
	byDefault   = &bus.Device{State: 10, Reason: 69}
	byConf      = &bus.Device{State: 10, Reason: 74}
	bySettings  = &bus.Device{State: 10, Reason: 76}
	byUdev      = &bus.Device{State: 10, Reason: 77}
	justPlugged = &bus.Device{State: 10, Reason: 71}
)

// A machine is its files, NetworkManager's answer (nil: it knows no such link), and whether its primary link is networkd's.
func TestStackOfMachines(t *testing.T) {
	link := nic.Link{Index: 4, Name: "ens4", MAC: nic.MAC{2, 0, 0, 0, 1, 1}}
	for name, test := range map[string]struct {
		files   map[string]string
		manager *bus.Device
		silent  bool // NetworkManager has run and does not answer
		early   bool // udev has not finished with the link
		uplink  string
		want    string
		inHand  bool
		refusal string // a part of it
		says    string // a part of the evidence
	}{
		"Ubuntu 20.04 in a cloud": {files: map[string]string{"/etc/os-release": system("Ubuntu 20.04.6 LTS"), hasOlder: "", hasNetworkd: "", cloudInit: cloudYAML, wordOnLink: "ADMIN_STATE=unmanaged\n"},
			want: Netplan, says: "the system is Ubuntu 20.04.6 LTS"},
		"Ubuntu 22.04, a NIC just plugged in": {files: map[string]string{"/etc/os-release": system("Ubuntu 22.04.5 LTS"), hasOlder: "", hasNetworkd: "", cloudInit: cloudYAML},
			want: Netplan, says: "systemd-networkd does not know link ens4 yet"},
		"Ubuntu 24.04, networkd about to look": {files: map[string]string{"/etc/os-release": system("Ubuntu 24.04.3 LTS"), hasNetplan: "", hasNetworkd: "", cloudInit: cloudYAML, wordOnLink: "ADMIN_STATE=pending\n"},
			want: Netplan, says: "(pending)"},
		"Ubuntu 26.04, a NIC that cloud-init configured": {files: map[string]string{"/etc/os-release": system("Ubuntu 26.04 LTS"), hasNetplan: "", hasNetworkd: "", cloudInit: "network: {ethernets: {ens4: {dhcp4: true}}}", wordOnLink: networkdHas("configured")},
			want: Netplan, inHand: true, says: "systemd-networkd has link ens4 in hand (configured, by 10-netplan-ens4.network)"},
		"Ubuntu's desktop": {files: map[string]string{"/etc/os-release": system("Ubuntu 24.04.3 LTS"), hasNetplan: "", hasManager: "", "/etc/netplan/01-network-manager-all.yaml": "network: {version: 2, renderer: NetworkManager}"}, manager: free,
			want: NetplanNetworkManager, inHand: true, says: "netplan's renderer is NetworkManager: /etc/netplan/01-network-manager-all.yaml says so"},
		"Ubuntu's desktop, the profile in force": {files: map[string]string{hasNetplan: "", hasManager: "", "/etc/netplan/01.yaml": "network: {renderer: NetworkManager}"}, manager: byNetplan,
			want: NetplanNetworkManager, inHand: true, says: "by /run/NetworkManager/system-connections/netplan-ens4.nmconnection"},
		"Ubuntu's desktop, the profile the user's own": {files: map[string]string{hasNetplan: "", hasManager: "", "/etc/netplan/01.yaml": "network: {renderer: NetworkManager}"}, manager: byProfile,
			want: NetworkManager, inHand: true},
		"Ubuntu's server with NetworkManager installed beside": {files: map[string]string{hasNetplan: "", hasNetworkd: "", hasManager: "", cloudInit: cloudYAML, wordOnLink: "ADMIN_STATE=unmanaged\n"}, manager: byConf,
			want: Netplan, says: "NetworkManager does not manage link ens4: NetworkManager.conf says so"},
		"netplan for networkd, this one NIC for NetworkManager": {files: map[string]string{hasNetplan: "", hasNetworkd: "", hasManager: "", cloudInit: "network: {renderer: networkd, ethernets: {ens4: {renderer: NetworkManager}}}", wordOnLink: "ADMIN_STATE=unmanaged\n"}, manager: free,
			want: NetplanNetworkManager, inHand: true, says: "defines link ens4 as \"ens4\", for NetworkManager"},
		"netplan for NetworkManager, this one NIC for networkd": {files: map[string]string{hasNetplan: "", hasNetworkd: "", hasManager: "", "/etc/netplan/01.yaml": "network: {renderer: NetworkManager, ethernets: {ens4: {renderer: networkd}}}", wordOnLink: networkdHas("configuring")}, manager: unmanaged,
			want: Netplan, inHand: true},
		"the renderer said of all NICs": {files: map[string]string{hasNetplan: "", hasNetworkd: "", hasManager: "", "/etc/netplan/01.yaml": "network: {ethernets: {renderer: NetworkManager, extra: {match: {macaddress: \"02:00:00:00:01:01\"}}}}"}, manager: justPlugged, early: true,
			want: NetplanNetworkManager, inHand: true, says: "as \"extra\", for NetworkManager"},
		"the last file about the renderer wins": {files: map[string]string{hasNetplan: "", hasNetworkd: "", hasManager: "", "/etc/netplan/01.yaml": "network: {renderer: NetworkManager}", "/etc/netplan/02.yaml": "network: {renderer: networkd}"}, manager: byDefault,
			want: Netplan, says: "/etc/netplan/02.yaml says so"},
		"a YAML that cannot be read": {files: map[string]string{hasNetplan: "", hasNetworkd: "", "/etc/netplan/01.yaml": "network: ["}, want: Netplan},
		"Debian 11 with netplan":     {files: map[string]string{"/etc/os-release": system("Debian GNU/Linux 11 (bullseye)"), hasOlder: "", hasNetworkd: "", cloudInit: cloudYAML}, want: Netplan},
		"Debian 12 in a cloud":       {files: map[string]string{"/etc/os-release": system("Debian GNU/Linux 12 (bookworm)"), hasNetplan: "", hasNetworkd: "", cloudInit: cloudYAML}, want: Netplan, says: "netplan is installed: /usr/libexec/netplan/generate"},
		"Debian 13 with networkd and no netplan": {files: map[string]string{"/etc/os-release": system("Debian GNU/Linux 13 (trixie)"), hasNetworkd: ""},
			refusal: "systemd-networkd configures the network here without netplan", says: "netplan is not installed"},
		"Debian 12 with ifupdown": {files: map[string]string{"/etc/os-release": system("Debian GNU/Linux 12 (bookworm)"), "/run/systemd/units/invocation:networking.service": "", "/run/network/ifstate": "lo=lo\nens3=ens3\n"},
			refusal: "ifupdown configures the network here", says: "ifupdown runs: /run/systemd/units/invocation:networking.service"},
		"Debian 12 with ifupdown, netplan installed and not in use": {files: map[string]string{hasNetplan: "", "/run/network/ifstate": ""},
			refusal: "ifupdown configures the network here", says: "netplan is installed"},
		"Debian 12 with ifupdown for the primary and NetworkManager for the rest": {files: map[string]string{hasManager: "", "/run/network/ifstate": "ens3=ens3\n"}, manager: free, want: NetworkManager, inHand: true},
		"Debian 12 with NetworkManager, netplan installed and not in use":         {files: map[string]string{hasNetplan: "", hasManager: ""}, manager: free, want: NetworkManager, inHand: true},
		"RHEL 8":                        {files: map[string]string{"/etc/os-release": system("Red Hat Enterprise Linux 8.10 (Ootpa)"), hasManager: "", "/etc/sysconfig/network-scripts/ifcfg-ens3": "DEVICE=ens3\n"}, manager: free, want: NetworkManager, inHand: true, says: "NetworkManager manages link ens4, and has no profile"},
		"RHEL 9":                        {files: map[string]string{"/etc/os-release": "PRETTY_NAME='Rocky Linux 9.4'\n", hasManager: ""}, manager: byProfile, want: NetworkManager, inHand: true, says: "Rocky Linux 9.4"},
		"RHEL 10":                       {files: map[string]string{"/etc/os-release": system("Red Hat Enterprise Linux 10.1 (Coughlan)"), hasManager: ""}, manager: free, want: NetworkManager, inHand: true},
		"Fedora, a NIC just plugged in": {files: map[string]string{"/etc/os-release": system("Fedora Linux 43 (Cloud Edition)"), hasManager: ""}, manager: justPlugged, early: true, want: NetworkManager, says: "udev has not finished with it"},
		"Fedora, a NIC that NetworkManager has not seen":    {files: map[string]string{hasManager: ""}, want: NetworkManager, says: "NetworkManager does not know link ens4 yet"},
		"RHEL 9 where NetworkManager is being started anew": {files: map[string]string{hasManager: ""}, silent: true, want: NetworkManager, says: "NetworkManager does not answer"},
		"RHEL 10 told to leave the NIC alone": {files: map[string]string{hasManager: ""}, manager: bySettings,
			refusal: "NetworkManager is told to leave link ens4 alone (unmanaged-devices or NM_CONTROLLED says so)"},
		"RHEL 8 told to leave the NIC alone, which gives no reason": {files: map[string]string{hasManager: ""}, manager: unmanaged, refusal: "NetworkManager is told to leave link ens4 alone"},
		"RHEL 8, a NIC just plugged in, which gives no reason":      {files: map[string]string{hasManager: ""}, manager: unmanaged, early: true, want: NetworkManager},
		"a test machine whose veths udev forbids":                   {files: map[string]string{hasManager: ""}, manager: byUdev, refusal: "a udev rule says so"},
		"SLES 15 with wicked": {files: map[string]string{"/etc/os-release": system("SUSE Linux Enterprise Server 15 SP6"), "/run/systemd/units/invocation:wickedd.service": ""},
			refusal: "wicked configures the network here"},
		"SLES 16":           {files: map[string]string{"/etc/os-release": system("SUSE Linux Enterprise Server 16.0"), hasManager: ""}, manager: free, want: NetworkManager, inHand: true},
		"Amazon Linux 2023": {files: map[string]string{"/etc/os-release": system("Amazon Linux 2023.9"), hasNetworkd: "", wordOnLink: networkdHas("configured")}, refusal: "systemd-networkd configures link ens4, without netplan"},
		"Flatcar":           {files: map[string]string{"/etc/os-release": system("Flatcar Container Linux by Kinvolk 4230"), hasNetworkd: ""}, refusal: "install netplan"},
		"both run, no netplan, the primary is networkd's": {files: map[string]string{hasNetworkd: "", hasManager: "", "/run/systemd/netif/links/2": networkdHas("configured")}, manager: justPlugged, early: true, uplink: "ens3",
			refusal: "systemd-networkd configures the primary link ens3"},
		"both run, no netplan, the primary is NetworkManager's": {files: map[string]string{hasNetworkd: "", hasManager: "", "/run/systemd/netif/links/2": "ADMIN_STATE=unmanaged\n"}, manager: justPlugged, early: true, uplink: "ens3", want: NetworkManager},
		"both run, no netplan, no primary":                      {files: map[string]string{hasNetworkd: "", hasManager: ""}, manager: justPlugged, early: true, want: NetworkManager},
		"both run, and NetworkManager has this NIC":             {files: map[string]string{hasNetworkd: "", hasManager: "", wordOnLink: "ADMIN_STATE=unmanaged\n"}, manager: free, want: NetworkManager, inHand: true},
		"both run, and networkd has this NIC":                   {files: map[string]string{hasNetplan: "", hasNetworkd: "", hasManager: "", wordOnLink: networkdHas("configured")}, manager: free, want: Netplan, inHand: true},
		"both have this NIC": {files: map[string]string{hasNetplan: "", hasNetworkd: "", hasManager: "", wordOnLink: networkdHas("configured")}, manager: byProfile,
			refusal: "both NetworkManager and systemd-networkd have link ens4 in hand"},
		"NetworkManager removed, its folder left by netplan": {files: map[string]string{hasNetplan: "", hasNetworkd: "", "/run/NetworkManager/conf.d/netplan.conf": ""}, want: Netplan, says: "NetworkManager does not run"},
		"netplan for a NetworkManager that is not there":     {files: map[string]string{hasNetplan: "", "/etc/netplan/01.yaml": "network: {renderer: NetworkManager}"}, refusal: "nobody configures the network here"},
		"ConnMan": {files: map[string]string{"/run/systemd/units/invocation:connman.service": ""}, refusal: "ConnMan configures the network here"},
		"nothing": {refusal: "nobody configures the network here in a way that multinicd writes", says: "NetworkManager does not run"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSurvey(t)
			hosttest.Files(t, s.host.Root, test.files)
			// What does not have the folder alone, as every Debian has it, counts for nothing.
			hosttest.Files(t, s.host.Root, map[string]string{"/run/systemd/netif/leases/x": ""})
			e := s.env(t.Context(), new(error))
			e.initialised = func(int) bool { return !test.early }
			e.uplink = func() (nic.Link, bool) { return nic.Link{Index: 2, Name: test.uplink}, test.uplink != "" }
			e.manager = func(name string) (bus.Device, error) {
				switch {
				case name != link.Name:
					t.Errorf("asked about %s", name)
				case test.silent:
					return bus.Device{}, bus.ErrNoBus
				case test.manager == nil:
					return bus.Device{}, bus.ErrNoDevice
				}
				return *test.manager, nil
			}
			got := e.forLink(link)
			evidence := strings.Join(got.Evidence, "\n")
			if got.Backend != test.want || test.want != "" && got.InHand != test.inHand {
				t.Errorf("got backend %q, inHand %v, want %q, %v", got.Backend, got.InHand, test.want, test.inHand)
			}
			if (got.Backend == "") != (got.Refusal != "") || !strings.Contains(got.Refusal, test.refusal) {
				t.Errorf("refused with %q, want %q", got.Refusal, test.refusal)
			}
			if !strings.Contains(evidence, test.says) {
				t.Errorf("the evidence does not say %q:\n%s", test.says, evidence)
			}
		})
	}
}

// The host as a whole: what a NIC gets that nobody has in hand.
func TestDetect(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		want  string
	}{
		"nothing":                {want: ""},
		"networkd and netplan":   {map[string]string{hasNetplan: "", hasNetworkd: ""}, Netplan},
		"NetworkManager":         {map[string]string{hasManager: ""}, NetworkManager},
		"netplan for it":         {map[string]string{hasNetplan: "", hasManager: "", "/etc/netplan/01.yaml": "network: {renderer: NetworkManager}"}, NetplanNetworkManager},
		"netplan with nobody":    {map[string]string{hasNetplan: ""}, ""},
		"networkd all by itself": {map[string]string{hasNetworkd: ""}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSurvey(t)
			hosttest.Files(t, s.host.Root, test.files)
			got, err := s.Detect(t.Context())
			if err != nil || got.Backend != test.want || len(got.Evidence) < 3 {
				t.Errorf("got %+v, error %v, want %q", got, err, test.want)
			}
		})
	}
}

func TestNetplansFilesCountAsTheyAreNow(t *testing.T) {
	s := newSurvey(t)
	l := nic.Link{Name: "ens4", MAC: nic.MAC{2, 0, 0, 0, 1, 1}}
	for _, row := range []struct{ content, renderer, found string }{
		{"network: {renderer: NetworkManager, ethernets: {ens4: {dhcp4: true}}}", "NetworkManager", "/etc/netplan/01.yaml"},
		{"network: {renderer: networkd, ethernets: {ens5: {dhcp4: true}}}", "networkd", ""},
		{"network: {renderer: [", "", ""},
		{"network: {renderer: NetworkManager, ethernets: {ens4: {dhcp4: true}}}", "NetworkManager", "/etc/netplan/01.yaml"},
		{"", "", ""}, // the file is gone
	} {
		name := s.host.Path("/etc/netplan/01.yaml")
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		err := os.WriteFile(name, []byte(row.content), 0o600)
		if row.content == "" {
			err = os.Remove(name)
		}
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second answer is remembered
			found, renderer, _, err := s.netplanFor(l)
			var by []string
			for _, d := range found {
				by = append(by, d.file)
			}
			if err != nil || renderer != row.renderer || strings.Join(by, " ") != row.found {
				t.Errorf("of %q: renderer %q, definitions %q, %v; want %q and %q", row.content, renderer, by, err, row.renderer, row.found)
			}
		}
	}
}

func TestInstanceIDs(t *testing.T) {
	const id = "0c497169-a104-4448-afde-f27b79fca904"
	for name, test := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"nothing":               {},
		"the DMI of OpenStack":  {files: map[string]string{"/sys/class/dmi/id/product_uuid": strings.ToUpper(id) + "\n"}, want: []string{id}},
		"a board without":       {files: map[string]string{"/sys/class/dmi/id/product_uuid": "03000200-0400-0500-0006-000700080009\n"}},
		"a board with zeros":    {files: map[string]string{"/sys/class/dmi/id/product_uuid": "00000000-0000-0000-0000-000000000000\n"}},
		"a board that says not": {files: map[string]string{"/sys/class/dmi/id/product_uuid": "Not Settable\n"}},
		"cloud-init on OpenStack": {files: map[string]string{"/run/cloud-init/instance-data.json": `{"ds":{"meta_data":{"uuid":"` + id + `","hostname":"w1"},"ec2_metadata":{"instance-id":"i-00000abc"}},"v1":{"instance_id":"` + id + `"}}`},
			want: []string{id, "i-00000abc"}},
		"cloud-init without data":   {files: map[string]string{"/var/lib/cloud/data/instance-id": "iid-datasource-none\n"}},
		"cloud-init's own file":     {files: map[string]string{"/var/lib/cloud/data/instance-id": "i-0123456789abcdef0\n"}, want: []string{"i-0123456789abcdef0"}},
		"a file cut off in mid-way": {files: map[string]string{"/run/cloud-init/instance-data.json": `{"v1":{"instance_id":"`}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSurvey(t)
			hosttest.Files(t, s.host.Root, test.files)
			if diff := cmp.Diff(test.want, s.InstanceIDs()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
