package vm

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestTheConfigDriveListsAllPorts(t *testing.T) {
	v := &VM{Name: "worker", UUID: uuid("worker"), nics: []*nic{{mac: "fa:16:3e:00:00:01"}, {mac: "fa:16:3e:00:01:01"}}}
	files := v.configDrive(Options{UserData: "#cloud-config\n"})
	var network struct {
		Links []struct {
			ID  string `json:"id"`
			MAC string `json:"ethernet_mac_address"`
		} `json:"links"`
		Networks []struct {
			Link string `json:"link"`
			Type string `json:"type"`
		} `json:"networks"`
	}
	if err := json.Unmarshal([]byte(files["openstack/latest/network_data.json"]), &network); err != nil {
		t.Fatal(err)
	}
	if len(network.Links) != 2 || len(network.Networks) != 2 {
		t.Fatalf("got %+v, want two ports", network)
	}
	for i, n := range v.nics {
		if l, w := network.Links[i], network.Networks[i]; l.MAC != n.mac || w.Link != l.ID || w.Type != "ipv4_dhcp" {
			t.Errorf("port %d is %+v with %+v, want DHCP on %s", i, l, w, n.mac)
		}
	}
	if got := files["openstack/latest/meta_data.json"]; !strings.Contains(got, `"uuid":"`+v.UUID+`"`) || !strings.Contains(got, `"hostname":"worker.novalocal"`) {
		t.Errorf("the metadata are %s", got)
	}
	if got := files["openstack/latest/user_data"]; got != "#cloud-config\n" {
		t.Errorf("the user data are %q", got)
	}
}
