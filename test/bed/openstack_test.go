package bed

import (
	"testing"

	"multinicd/test/bed/openstack"
)

// The cloud is there, gives a credential that reads and no more, and a port is what was asked for.
func TestTheCloudAnswers(t *testing.T) {
	t.Parallel()
	c := New(t).OpenStack()
	ctx := t.Context()
	tenant, err := c.Tenant(ctx, "bed", "reader", openstack.Rules())
	if err != nil {
		t.Fatal(err)
	}
	network, err := c.Make(ctx, "network", openstack.Thing{"name": "n", "project_id": tenant.Project, "mtu": 1400})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Make(ctx, "subnet", openstack.Thing{"network_id": network, "project_id": tenant.Project, "ip_version": 4, "cidr": "10.0.0.0/24"}); err != nil {
		t.Fatal(err)
	}
	port, err := c.Make(ctx, "port", openstack.Thing{"network_id": network, "project_id": tenant.Project, "binding:host_id": "active-1"})
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.Do(ctx, "GET", "/v2.0/ports/"+port, nil)
	if p, ok := out["port"].(map[string]any); err != nil || !ok || p["status"] != "ACTIVE" {
		t.Errorf("the port is %v, %v", out, err)
	}
	if _, err := c.Do(ctx, "GET", "/v2.0/ports?nonsense=1", nil); err == nil {
		t.Error("an unknown filter is taken")
	}
}
