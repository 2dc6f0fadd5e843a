package openstack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
	"multinicd/test/bed"
	"multinicd/test/bed/openstack"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/sandbox"
	"multinicd/test/bed/testhost"
)

// noNode deletes a Node.
func (s *stage) noNode(name string) {
	s.t.Helper()
	s.must(s.kube.Delete(s.t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}))
}

// notes waits until the publisher notes a reason on an object.
func (s *stage) notes(name, want string) {
	s.t.Helper()
	bed.Eventually(s.t, "the note on "+name, want, func() string {
		reason := ""
		if o := s.object(name); o != nil {
			reason, _, _ = strings.Cut(o.Annotations[v1.PublisherNoteAnnotation], ": ")
		}
		return reason
	})
}

func TestWhatBecomesOfInstances(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.instance("server-0") // so that there is a walk without the other one
	i := s.instance("server-1")
	port := i.port(41)
	s.publish("--removal-age", "1s")
	s.becomes("server-1", "0=10.20.0.41/24")
	s.notes("server-1", v1.ReasonAsPublished)
	generation := s.object("server-1").Generation
	stays := func(when, nics string) {
		t.Helper()
		if got := s.nics("server-1"); got != nics || s.object("server-1").Generation != generation {
			t.Errorf("%s: the NICs are %s, generation %d of %d", when, got, s.object("server-1").Generation, generation)
		}
	}

	// rebuilt: the instance keeps its id and its ports, and the Node registers anew
	s.noNode("server-1")
	s.walks(3)
	stays("without a Node", "0=10.20.0.41/24")
	s.node("server-1", i.id, "192.0.2.12")
	s.walks(3)
	stays("rebuilt", "0=10.20.0.41/24")

	// deleted: all of its ports go, and the Node is still there
	s.remove(port)
	s.remove(i.primary)
	s.notes("server-1", "NoPrimary")
	s.walks(3)
	stays("deleted", "0=10.20.0.41/24")

	// another instance under the name, with the address
	s.noNode("server-1")
	next := &instance{s: s, name: "server-1", id: uuid()}
	next.primary = s.portOn(next, s.mgmt, "192.0.2.12", nil)
	port = next.port(42)
	s.node("server-1", next.id, "192.0.2.12")
	s.becomes("server-1", "1=10.20.0.42/24")
	if o := s.object("server-1"); o.Spec.InstanceID != next.id || o.Annotations[v1.PrimaryPortAnnotation] != next.primary {
		t.Errorf("the object is of %s, its primary port %s", o.Spec.InstanceID, o.Annotations[v1.PrimaryPortAnnotation])
	}

	// two Nodes that claim the instance, and a port that goes meanwhile
	generation = s.object("server-1").Generation
	s.node("server-2", next.id, "192.0.2.98")
	s.notes("server-1", "InstanceTwice")
	s.remove(port)
	s.walks(3)
	stays("claimed twice", "1=10.20.0.42/24")
	s.noNode("server-2")
	s.becomes("server-1", "")
	s.notes("server-1", v1.ReasonAsPublished)

	// an instance that is no Node, and a Node without ports
	stray := s.portOn(&instance{id: uuid()}, s.data, "", nil)
	s.node("bare-1", uuid(), "192.0.2.99")
	s.walks(2)
	if text := s.command("plan"); strings.Contains(text, stray) || !strings.Contains(text, "bare-1: frozen, NoPrimary: none of the instance's 0 ports") || s.object("bare-1") != nil {
		t.Errorf("bare-1 has the object %v, and plan says\n%s", s.object("bare-1"), text)
	}
}

func TestWhichKindsOfPortsBecomeNICs(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	i := s.instance("kinds-1")
	six, err := s.cloud.Make(t.Context(), "subnet", openstack.Thing{"network_id": s.data.id, "project_id": s.tenant.Project, "ip_version": 6, "cidr": "2001:db8:20::/64", "enable_dhcp": false})
	s.must(err)
	made := 0
	kind := func(fields openstack.Thing, addresses ...string) string {
		made++
		var ips []any
		for _, a := range addresses {
			subnet := s.data.subnet
			if strings.Contains(a, ":") {
				subnet = six
			}
			ips = append(ips, openstack.Thing{"subnet_id": subnet, "ip_address": a})
		}
		more := openstack.Thing{"fixed_ips": ips, "tags": []string{fmt.Sprint(v1.IDTag, made)}}
		for k, v := range fields {
			more[k] = v
		}
		return s.portOn(i, s.data, "10.20.0.1", more)
	}
	kind(nil, "2001:db8:20::51", "10.20.0.51")
	kind(nil, "2001:db8:20::52")
	parent := kind(nil, "10.20.0.53")
	kind(openstack.Thing{"port_security_enabled": false}, "10.20.0.54")
	kind(openstack.Thing{"allowed_address_pairs": []any{openstack.Thing{"ip_address": "10.20.0.200"}}}, "10.20.0.55")
	// a subport, with the device that agents give it
	sub := kind(openstack.Thing{"device_id": "", "device_owner": ""}, "10.20.0.56")
	s.must(s.cloud.Grant(t.Context(), s.tenant, "member", true)) // an administrator makes no trunk in Neutron of 2022
	_, err = s.cloud.As(t.Context(), s.tenant, http.MethodPost, "/v2.0/trunks", openstack.Thing{"trunk": openstack.Thing{"port_id": parent,
		"sub_ports": []any{openstack.Thing{"port_id": sub, "segmentation_type": "vlan", "segmentation_id": 101}}}})
	s.must(err)
	s.set("port", sub, openstack.Thing{"device_id": i.id, "device_owner": "trunk:subport"})
	s.publish()
	s.becomes("kinds-1", "1=10.20.0.51/24+2001:db8:20::51/64 2=2001:db8:20::52/64 3=10.20.0.53/24 4=10.20.0.54/24 5=10.20.0.55/24")
	s.notes("kinds-1", v1.ReasonAsPublished)
	if text := s.command("plan"); !strings.Contains(text, "port "+sub+": Subport: ") {
		t.Errorf("plan says\n%s", text)
	}
}

// Two entries of clouds.yaml, each with a project and a region of its own. While one does not answer, the other is followed, except that nothing goes.
func TestTwoClouds(t *testing.T) {
	t.Parallel()
	s, other := newStage(t), newStage(t)
	here, there := s.instance("here-1"), other.instance("there-1")
	first, _ := here.port(61), there.port(62)
	entries := strings.TrimPrefix(other.way.CloudsYAML(other.tenant), "clouds:\n")
	s.must(appendTo(s.clouds, entries))
	p := s.publish("--removal-age", "1s", "--cloud", other.tenant.Name, "--network", other.data.id)
	s.becomes("here-1", "0=10.20.0.61/24")
	s.becomes("there-1", "0=10.20.0.62/24")
	s.notes("there-1", v1.ReasonAsPublished)
	generation := s.object("there-1").Generation
	other.way.Lie(instead("/v2.0/ports", 503, ""))
	s.remove(first)
	here.port(63)
	s.becomes("here-1", "0=10.20.0.61/24 1=10.20.0.63/24")
	s.walks(2)
	s.becomes("here-1", "0=10.20.0.61/24 1=10.20.0.63/24")
	s.notes("there-1", v1.ReasonAsPublished) // nobody knows better
	other.way.Lie(nil)
	s.becomes("here-1", "1=10.20.0.63/24")
	s.notes("there-1", v1.ReasonAsPublished)
	if o := s.object("there-1"); o.Generation != generation || s.nics("there-1") != "0=10.20.0.62/24" {
		t.Errorf("there-1 has generation %d of %d: %s", o.Generation, generation, s.nics("there-1"))
	}
	if !strings.Contains(p.Log(), "walking through the cloud "+other.tenant.Name) {
		t.Error("the log does not name the cloud that did not answer")
	}
}

// A cloud with settings of its own, and therefore one of its own. With tokens of a minute Neutron asks for one of its own before each question to
// Keystone, and is slow. A token ends while nothing else happens, and another port comes after it. Pages are shorter than they were asked for.
func TestACloudWithOtherSettings(t *testing.T) {
	t.Parallel()
	for _, row := range prerequisite.Long("tokens of a minute, and pages of three") {
		t.Run(row, func(t *testing.T) {
			box, err := sandbox.New(context.WithoutCancel(t.Context()), t.Logf)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := box.Close(); err != nil {
					t.Error(err)
				}
			})
			world, err := testhost.NewWorld(box, t.Logf)
			if err != nil {
				t.Fatal(err)
			}
			cloud, err := openstack.Start(t.Context(), box, world)
			if err != nil {
				t.Fatal(err)
			}
			for service, text := range map[string]string{"keystone": "[token]\nexpiration = 60\n", "neutron": "[DEFAULT]\npagination_max_limit = 3\n"} {
				if err := cloud.Configure(t.Context(), service, text); err != nil {
					t.Fatal(err)
				}
			}
			s := newStageIn(t, bed.New(t), cloud)
			i := s.instance("other-1")
			for n := range 7 {
				i.port(71 + n)
			}
			var page struct{ Ports []port }
			s.must(cloud.Read(t.Context(), "/v2.0/ports?limit=200", &page))
			if len(page.Ports) != 3 {
				t.Fatalf("a page has %d ports", len(page.Ports))
			}
			p := s.publish("--timeout", "2m") // only the token may end a walk
			bed.Eventually(t, "the ports", i.neutronHas(), i.objectHas)
			bed.Eventually(t, "a token was asked for once more", "true", func() string {
				tokens, _ := s.way.Asked()
				return fmt.Sprint(tokens >= 2)
			})
			i.port(78)
			bed.Eventually(t, "the ports, with another one", i.neutronHas(), i.objectHas)
			if strings.Contains(p.Log(), "a walk was not whole") {
				t.Errorf("a walk failed because its token had ended:\n%s", p.Log())
			}
		})
	}
}

// All ports are found, whatever the pages are.
func TestManyPortsBySevenAtATime(t *testing.T) {
	t.Parallel()
	for _, row := range append([]struct{ instances, each int }{{3, 12}}, prerequisite.Long(struct{ instances, each int }{50, 40})...) {
		t.Run(fmt.Sprint(row.instances*row.each), func(t *testing.T) {
			s := newStage(t)
			s.data = s.networkOf("wide", "10.40.0.0/16", 1450)
			many := openstack.Many{
				Prefix: uuid()[:8], Project: s.tenant.Project, To: row.instances, Each: row.each, ManagementNetwork: s.mgmt.id, ManagementSubnet: s.mgmt.subnet, Management: "192.0.2.10",
				DataNetwork: s.data.id, DataSubnet: s.data.subnet, Data: "10.40.1.0",
			}
			s.must(s.cloud.Put(t.Context(), many))
			var all []*instance
			for n := range row.instances {
				i := &instance{s: s, name: fmt.Sprintf("many-%d-%d", row.instances, n), id: many.Instance(n)}
				s.node(i.name, i.id, fmt.Sprintf("192.0.2.%d", 10+n))
				all = append(all, i)
			}
			var requests atomic.Int64
			s.way.Lie(func(real http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					requests.Add(1)
					real.ServeHTTP(w, r)
				})
			})
			s.publish("--page-size", "7")
			for _, i := range all {
				want := i.neutronHas()
				if n := strings.Count(want, "\n") + 1; n != row.each-1 {
					t.Fatalf("Neutron has %d ports of %s", n, i.name)
				}
				bed.Eventually(t, "the ports of "+i.name, want, func() string {
					got := i.objectHas()
					if got != want { // a walk of 300 requests takes minutes on a busy machine
						got += fmt.Sprintf("\nafter %d requests", requests.Load())
					}
					return got
				})
			}
		})
	}
}

func appendTo(file, text string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
