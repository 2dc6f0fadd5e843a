package asked

import (
	"testing"

	v1 "multinicd/api/v1"
)

func TestARouteThatIsGivenTwiceIsOne(t *testing.T) {
	id, main := int32(1), int64(254)
	obj := &v1.MultiNicNodeConfig{Spec: v1.MultiNicNodeConfigSpec{NodeName: "n1", Interfaces: []v1.Interface{{ID: &id, MACAddress: "02:00:00:00:01:01", CIDR: "192.0.2.1/24"}}}}
	obj.Name = "n1"
	obj.Spec.Interfaces[0].Routes = []v1.Route{{To: "198.51.100.0/24", Via: "192.0.2.2"}, {To: "198.51.100.0/24", Via: "192.0.2.2", Table: &main}}
	if d := Parse(obj, "n1"); len(d.NICs) != 1 || len(d.NICs[0].Routes) != 1 {
		t.Errorf("parsed as %+v", d)
	}
}
