package openstack

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/test/bed"
	"multinicd/test/bed/openstack"
)

func TestPortsBecomeNICs(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	i := s.instance("life-1")
	first, second := i.port(11), i.port(12)
	s.publish()
	s.becomes("life-1", "0=10.20.0.11/24 1=10.20.0.12/24")
	o := s.object("life-1")
	if o.Spec.InstanceID != i.id || o.Spec.ProviderID != "openstack" || o.Spec.Interfaces[0].PortID != first || *o.Spec.Interfaces[0].MTU != 1450 ||
		o.Annotations[v1.PrimaryPortAnnotation] != i.primary || o.Labels[v1.PublisherLabel] != v1.PublisherOpenStack {
		t.Errorf("the object is %+v %+v", o.ObjectMeta, o.Spec)
	}

	// detached and attached in another order: the ids stay
	s.detach(first)
	s.becomes("life-1", "1=10.20.0.12/24")
	s.detach(second)
	s.becomes("life-1", "")
	s.attach(second, i)
	s.attach(first, i)
	s.becomes("life-1", "0=10.20.0.11/24 1=10.20.0.12/24")

	// the network and the port change
	generation := s.object("life-1").Generation
	s.set("network", s.data.id, openstack.Thing{"mtu": 1400})
	bed.Eventually(t, "the MTU", "1400", func() string { return fmt.Sprint(*s.object("life-1").Spec.Interfaces[0].MTU) })
	s.set("port", first, openstack.Thing{"fixed_ips": []any{openstack.Thing{"subnet_id": s.data.subnet, "ip_address": "10.20.0.99"}}})
	s.becomes("life-1", "0=10.20.0.99/24 1=10.20.0.12/24")
	if got := s.object("life-1").Generation; got != generation+2 {
		t.Errorf("two changes made %d generations", got-generation)
	}

	// a port is deleted, and another one takes its address
	s.remove(second)
	third := i.port(12)
	s.becomes("life-1", "0=10.20.0.99/24 2=10.20.0.12/24")
	if got := s.object("life-1").Spec.Interfaces[1].PortID; got != third {
		t.Errorf("port %s, want %s", got, third)
	}

	// in another subnet
	next, err := s.cloud.Make(t.Context(), "subnet", openstack.Thing{"network_id": s.data.id, "project_id": s.tenant.Project, "ip_version": 4, "cidr": "10.21.0.0/25", "enable_dhcp": false})
	s.must(err)
	s.set("port", third, openstack.Thing{"fixed_ips": []any{openstack.Thing{"subnet_id": next, "ip_address": "10.21.0.12"}}})
	const want = "0=10.20.0.99/24 2=10.21.0.12/25"
	s.becomes("life-1", want)

	// the status of a port says nothing, and a name that its owner gives neither
	s.set("port", third, openstack.Thing{"admin_state_up": false, "name": "\x1b[31mred"})

	// what is not ours
	stranger, err := s.cloud.Tenant(t.Context(), s.tenant.Name+"-stranger", "member", openstack.Rules())
	s.must(err)
	theirs, err := s.cloud.Make(t.Context(), "network", openstack.Thing{"name": "theirs", "project_id": stranger.Project, "shared": true})
	s.must(err)
	var odd string
	for _, p := range []openstack.Thing{
		{"network_id": theirs, "project_id": stranger.Project, "device_id": i.id, "device_owner": "compute:x"},
		{"network_id": s.data.id, "project_id": stranger.Project, "device_id": i.id, "device_owner": "compute:x"},
		{"network_id": s.data.id, "project_id": s.tenant.Project, "device_id": i.id, "device_owner": ""},
		{"network_id": s.mgmt.id, "project_id": s.tenant.Project, "device_id": i.id, "device_owner": "compute:nova"},
	} {
		id, err := s.cloud.Make(t.Context(), "port", p)
		s.must(err)
		if p["device_owner"] == "" {
			odd = id
		}
	}
	text := s.command("plan")
	for _, want := range []string{"life-1: is as wanted\n", ": Primary: ", ": ForeignOwner: ", ": NotAllowed: "} {
		if !strings.Contains(text, want) {
			t.Errorf("plan does not say %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "ForeignProject") || strings.Count(text, "\n  port ") != 3 {
		t.Errorf("plan sees ports of others:\n%s", text)
	}
	s.walks(2)
	s.becomes("life-1", want)
	if got := s.object("life-1").Generation; got != generation+4 {
		t.Errorf("there were %d generations, want 4", got-generation)
	}

	// the object says so, by the bridge, which alone writes its status
	bed.Eventually(t, "the condition", "False ForeignOwner", func() string { return s.published("life-1") })
	s.remove(odd)
	bed.Eventually(t, "the condition", "True AsPublished", func() string { return s.published("life-1") })
	c := meta.FindStatusCondition(s.object("life-1").Status.Conditions, v1.ConditionPublished)
	if !strings.Contains(c.Message, "port "+i.primary+": Primary: ") || !strings.Contains(c.Message, ": NotAllowed: ") {
		t.Errorf("it says %q", c.Message)
	}
	if got := s.object("life-1").Generation; got != generation+4 {
		t.Errorf("notes make generations: %d", got-generation-4)
	}
}

// published is the condition of an object that says how its publisher gets on.
func (s *stage) published(name string) string {
	s.t.Helper()
	if c := meta.FindStatusCondition(s.object(name).Status.Conditions, v1.ConditionPublished); c != nil {
		return string(c.Status) + " " + c.Reason
	}
	return ""
}

// command runs plan or check as a person does, and returns what it prints.
func (s *stage) command(name string, more ...string) string {
	s.t.Helper()
	out, err := s.tryCommand(name, more...)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

func (s *stage) tryCommand(name string, more ...string) (string, error) {
	s.t.Helper()
	args := append([]string{"openstack", name}, more...)
	if name == "plan" {
		args = append(append(args, s.flags()...), "--kubeconfig", s.cluster.Kubeconfig)
	} else {
		args = append(args, "--clouds-file", s.clouds, "--cloud", s.tenant.Name)
	}
	cmd := exec.CommandContext(s.t.Context(), bed.Build(s.t, "./cmd/bridge"), args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

func TestATagGivesAPortAndItsId(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	i, other := s.instance("tag-1"), s.network("other", "10.30.0", 1450)
	s.portOn(i, other, "10.30.0.5", openstack.Thing{"tags": []string{v1.EnabledTag, v1.IDTag + "7"}})
	s.publish()
	s.becomes("tag-1", "7=10.30.0.5/24")
}

// What somebody else published stays with whom it belongs to: by hand, by the field's operator, by the HTTP door (test/suite/intake has the other
// direction). Taking an object over keeps its ids, and is a new generation only where a NIC does not say its port yet.
func TestWhoseObjectsAreChanged(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	i, bare, door, twin := s.instance("owner-1"), s.instance("owner-2"), s.instance("door-1"), uuid()
	s.node("twin-1", twin, "192.0.2.201")
	s.node("twin-2", twin, "192.0.2.202")
	// nic is one as the field's operator has it: MACs in capitals, the id as a number, or as a name alone
	nic := func(i *instance, n int, id *int32, name, cidr string, mac func(string) string) v1.Interface {
		p := i.port(n)
		return v1.Interface{ID: id, Name: name, PortID: p, MACAddress: mac(s.mac(p)), Address: fmt.Sprintf("10.20.0.%d", n), CIDR: cidr, MTU: new(int32(1450))}
	}
	made := func(i *instance, name, label string, nics ...v1.Interface) {
		o := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: v1.SystemNamespace}, Spec: v1.MultiNicNodeConfigSpec{
			NodeName: name, ProviderID: "viola", InstanceID: strings.ToUpper(i.id), SpecHash: "theirs", Interfaces: nics,
		}}
		if label != "" {
			o.Labels = map[string]string{v1.PublisherLabel: label}
		}
		s.must(s.kube.Create(t.Context(), o))
	}
	lower := func(s string) string { return s }
	made(i, "owner-1", "", nic(i, 21, new(int32(5)), "", "10.20.0.0/24", strings.ToUpper), nic(i, 22, nil, "multinic0", "10.20.0.22/24", lower), nic(i, 23, new(int32(2)), "multinic2", "10.20.0.0/24", strings.ToUpper))
	portless := nic(bare, 24, new(int32(3)), "multinic3", "10.20.0.0/24", lower)
	portless.PortID = "" // the field's test server drops it
	made(bare, "owner-2", "", portless)
	made(door, "door-1", v1.PublisherIntake, nic(door, 25, new(int32(1)), "", "10.20.0.0/24", lower))
	door.port(26)
	made(&instance{id: twin}, "twin-1", "", v1.Interface{ID: new(int32(5)), MACAddress: "02:00:00:00:00:05", Address: "10.20.0.27", CIDR: "10.20.0.0/24"})
	before := map[string]*v1.MultiNicNodeConfig{}
	for _, name := range []string{"owner-1", "owner-2", "door-1", "twin-1"} {
		before[name] = s.object(name)
	}
	s.publish()
	for _, name := range []string{"owner-1", "owner-2", "door-1"} {
		bed.Eventually(t, "an Event on the object "+name, "NotOurs", func() string { return s.event(name, "NotOurs") })
	}
	bed.Eventually(t, "an Event on the object of a twin", "InstanceTwice", func() string { return s.event("twin-1", "InstanceTwice") })
	for name, was := range before {
		if diff := cmp.Diff(was, s.object(name), cmp.FilterPath(func(p cmp.Path) bool {
			return strings.HasPrefix(p.String(), "Status") || strings.HasSuffix(p.String(), "ResourceVersion") ||
				strings.HasPrefix(p.String(), "ObjectMeta.ManagedFields")
		}, cmp.Ignore())); diff != "" { // another test's bridge writes statuses
			t.Errorf("%s was changed:\n%s", name, diff)
		}
	}
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"`+v1.HandOverAnnotation+`":"`+v1.PublisherOpenStack+`"}}}`))
	for _, row := range []struct {
		i           *instance
		generations int64
		want        string
	}{
		{i, 0, "0=10.20.0.22/24 2=10.20.0.23/24 5=10.20.0.21/24"},
		{bare, 1, "3=10.20.0.24/24"},
	} {
		name := row.i.name
		s.must(s.kube.Patch(t.Context(), s.object(name), patch))
		bed.Eventually(t, "the owner of "+name, v1.PublisherOpenStack, func() string { return s.object(name).Labels[v1.PublisherLabel] })
		bed.Eventually(t, "the primary port of "+name, row.i.primary, func() string { return s.object(name).Annotations[v1.PrimaryPortAnnotation] })
		s.notes(name, v1.ReasonAsPublished)
		s.walks(1)
		got := s.object(name)
		if got.Generation != before[name].Generation+row.generations || got.Spec.ProviderID != "viola" || s.nics(name) != row.want {
			t.Errorf("taking %s over made generation %d of %d: %s, %+v", name, got.Generation, before[name].Generation, s.nics(name), got.Spec)
		}
		if row.generations == 0 {
			if diff := cmp.Diff(before[name].Spec, got.Spec); diff != "" {
				t.Errorf("%s is spelled in another way:\n%s", name, diff)
			}
		}
	}
}

// mac is that of a port.
func (s *stage) mac(id string) string {
	s.t.Helper()
	var p struct{ Port port }
	s.must(s.cloud.Read(s.t.Context(), "/v2.0/ports/"+id, &p))
	return p.Port.MAC
}

// event is the reason, if there is an Event with it on an object; else "".
func (s *stage) event(name, reason string) string {
	s.t.Helper()
	var list eventsv1.EventList
	s.must(s.kube.List(s.t.Context(), &list, client.InNamespace(v1.SystemNamespace)))
	for _, e := range list.Items {
		if e.Regarding.Name == name && e.ReportingController == v1.PublisherOpenStack && e.Reason == reason {
			return reason
		}
	}
	return ""
}

func TestCheckNamesTheRuleThatIsMissing(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.instance("check-1")
	if text := s.command("check"); !strings.Contains(text, "Neutron answers all that is asked of it") || !strings.Contains(text, "the application credential does not end") {
		t.Errorf("with all rules it says\n%s", text)
	}
	s.must(s.cloud.Credential(t.Context(), s.tenant, openstack.Rules(), time.Date(2037, 1, 2, 3, 4, 5, 0, time.UTC)))
	s.writeClouds()
	if text := s.command("check"); !strings.Contains(text, "the application credential ends at 2037-01-02T03:04:05Z") {
		t.Errorf("with a credential that ends it says\n%s", text)
	}
	for _, path := range []string{"/v2.0/subnets", "/v2.0/ports/*"} {
		s.must(s.cloud.Credential(t.Context(), s.tenant, openstack.Rules(path), noTime))
		s.writeClouds()
		text, err := s.tryCommand("check")
		if err == nil || !strings.Contains(text, "{service: network, method: GET, path: "+path+"}") || strings.Count(text, "access rule") != 1 {
			t.Errorf("without %s: %v\n%s", path, err, text)
		}
	}
	s.tenant.CredentialSecret = "wrong"
	s.writeClouds()
	if text, err := s.tryCommand("check"); err == nil || !strings.Contains(text, "401 Unauthorized") {
		t.Errorf("with a wrong secret: %v\n%s", err, text)
	}
}
