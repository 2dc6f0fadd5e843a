package openstack

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/test/bed"
	"multinicd/test/bed/openstack"
)

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

// The removal of a NIC is positive evidence only; what a person gave to another publisher stays with it.
func TestWhoseObjectsAreChanged(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	i, twin := s.instance("owner-1"), uuid()
	port := i.port(21)
	s.node("twin-1", twin, "192.0.2.201")
	s.node("twin-2", twin, "192.0.2.202")
	for n, byHand := range map[string]string{"owner-1": port, "twin-1": ""} {
		o := &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: n, Namespace: v1.SystemNamespace}, Spec: v1.MultiNicNodeConfigSpec{
			NodeName: n, ProviderID: "viola", InstanceID: strings.ToUpper(i.id), SpecHash: "theirs",
			Interfaces: []v1.Interface{{ID: new(int32(5)), PortID: byHand, MACAddress: "02:00:00:00:00:05", Address: "10.20.0.21", CIDR: "10.20.0.0/24", MTU: new(int32(1450))}},
		}}
		s.must(s.kube.Create(t.Context(), o))
	}
	// as the field's operator has written it: the port's MAC
	var real struct{ mac string }
	out, err := s.cloud.Do(t.Context(), "GET", "/v2.0/ports/"+port, nil)
	s.must(err)
	if p, ok := out["port"].(map[string]any); ok {
		real.mac = fmt.Sprint(p["mac_address"])
	}
	o := s.object("owner-1")
	o.Spec.Interfaces[0].MACAddress = strings.ToUpper(real.mac)
	s.must(s.kube.Update(t.Context(), o))
	generation := s.object("owner-1").Generation
	s.publish()
	bed.Eventually(t, "an Event on somebody else's object", "NotOurs", func() string { return s.event("owner-1", "NotOurs") })
	bed.Eventually(t, "an Event on the object of a twin", "InstanceTwice", func() string { return s.event("twin-1", "InstanceTwice") })
	if got := s.object("owner-1"); got.Labels[v1.PublisherLabel] != "" || got.Generation != generation {
		t.Errorf("it was changed: %+v", got.ObjectMeta)
	}
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"`+v1.HandOverAnnotation+`":"`+v1.PublisherOpenStack+`"}}}`))
	s.must(s.kube.Patch(t.Context(), s.object("owner-1"), patch))
	bed.Eventually(t, "the owner", v1.PublisherOpenStack, func() string { return s.object("owner-1").Labels[v1.PublisherLabel] })
	bed.Eventually(t, "the primary port", i.primary, func() string { return s.object("owner-1").Annotations[v1.PrimaryPortAnnotation] })
	s.walks(1)
	if got := s.object("owner-1"); got.Generation != generation || got.Spec.ProviderID != "viola" || s.nics("owner-1") != "5=10.20.0.21/24" {
		t.Errorf("taking it over made generation %d of %d: %+v", got.Generation, generation, got.Spec)
	}
}

// event is the reason, if there is an Event with it on an object; else "". The publishers of other tests see the Node, too, and know no port of it:
// NoPrimary is theirs.
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
	if text := s.command("check"); !strings.Contains(text, "Neutron answers all that is asked of it") {
		t.Errorf("with all rules it says\n%s", text)
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
