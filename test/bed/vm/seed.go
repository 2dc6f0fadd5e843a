package vm

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// writeSeed makes the disk by which cloud-init learns who the machine is: OpenStack's config drive, or that of a machine without a cloud (NoCloud).
func (v *VM) writeSeed(ctx context.Context) error {
	files, label := v.configDrive(v.asked), "config-2"
	if v.asked.NoCloud {
		files, label = v.noCloud(v.asked), "cidata"
	}
	dir := v.path("seed")
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("making the seed of %s: %w", v.Name, err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return fmt.Errorf("making the seed of %s: %w", v.Name, err)
		}
	}
	if err := tool(ctx, "genisoimage", "-quiet", "-output", v.path("seed.iso"), "-volid", label, "-joliet", "-rock", dir); err != nil {
		return fmt.Errorf("making the seed of %s: %w", v.Name, err)
	}
	return nil
}

// configDrive has the files that Nova makes for an instance. All of its ports are in network_data.json, DHCP on each.
func (v *VM) configDrive(o Options) map[string]string {
	type object = map[string]any
	var links, networks []object
	for i, n := range v.nics {
		port := fmt.Sprintf("%08x", i+1)
		links = append(links, object{
			"id": "tap" + port, "vif_id": port + "-0000-4000-8000-000000000000", "type": "ovs", "mtu": 1500, "ethernet_mac_address": n.mac,
		})
		networks = append(networks, object{
			"id": fmt.Sprintf("network%d", i), "type": "ipv4_dhcp", "link": "tap" + port, "network_id": fmt.Sprintf("%08x-0000-4000-9000-000000000000", i+1),
		})
	}
	files := map[string]string{
		"meta_data.json": asJSON(object{
			"uuid": v.UUID, "name": v.Name, "hostname": v.Name + ".novalocal", "launch_index": 0, "availability_zone": "nova",
			"project_id": "6b9c0b0d5e0e4b7d9a4f3c1f6a2d8e10", "devices": []object{}, "random_seed": strings.Repeat("c2VlZCBvZiB0aGUgdGVzdCBiZWQ=", 8),
		}),
		"network_data.json": asJSON(object{"links": links, "networks": networks, "services": []object{}}),
	}
	if o.UserData != "" {
		files["user_data"] = o.UserData
	}
	out := map[string]string{}
	for name, text := range files {
		out["openstack/latest/"+name] = text
	}
	return out
}

// noCloud has the files of a seed without a cloud.
func (v *VM) noCloud(o Options) map[string]string {
	userData := o.UserData
	if userData == "" {
		userData = "#cloud-config\n{}\n"
	}
	return map[string]string{"meta-data": asJSON(map[string]any{"instance-id": v.UUID, "local-hostname": v.Name}), "user-data": userData}
}

// asJSON is for what has no value that JSON does not know.
func asJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(text) + "\n"
}
