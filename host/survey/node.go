package survey

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"sync"
)

var (
	uuid = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`) })
	ec2  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^i-[0-9a-f]{8,17}$`) })
)

// InstanceIDs gives the names under which the cloud knows this machine, as far as they are such that a spec.instanceId can be
// compared with them: UUIDs and EC2's "i-...", lower case, sorted, without repetition. They come from the DMI (which OpenStack
// fills with the instance's UUID) and from cloud-init. None means that nothing is comparable.
func (s *Survey) InstanceIDs() []string {
	var out []string
	add := func(s string) {
		s = strings.ToLower(strings.TrimSpace(s))
		// Makers of boards put such constants where they have nothing to say.
		if (uuid().MatchString(s) && strings.Trim(s, "0-") != "" && strings.Trim(s, "f-") != "" && s != "03000200-0400-0500-0006-000700080009") || ec2().MatchString(s) {
			out = append(out, s)
		}
	}
	for _, f := range []string{"/sys/class/dmi/id/product_uuid", "/sys/hypervisor/uuid", "/var/lib/cloud/data/instance-id"} {
		if data, _, err := s.host.Read(f); err == nil {
			add(string(data))
		}
	}
	for _, f := range []string{"/run/cloud-init/instance-data-sensitive.json", "/run/cloud-init/instance-data.json"} {
		data, _, err := s.host.Read(f)
		if err != nil {
			continue
		}
		type metadata struct {
			Dash  string `json:"instance-id"`
			Under string `json:"instance_id"`
			UUID  string `json:"uuid"`
		}
		var d struct {
			V1 metadata `json:"v1"`
			DS struct {
				Meta metadata `json:"meta_data"`
				EC2  metadata `json:"ec2_metadata"`
			} `json:"ds"`
		}
		// What does not parse is a half-written file of the first boot: the DMI has spoken already.
		_ = json.Unmarshal(data, &d)
		for _, m := range []metadata{d.V1, d.DS.Meta, d.DS.EC2} {
			add(m.Dash)
			add(m.Under)
			add(m.UUID)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
