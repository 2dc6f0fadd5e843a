package intake

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/google/go-cmp/cmp"

	v1 "multinicd/api/v1"
)

// byHand is an object as kubectl, GitOps or VIOLA itself makes it.
const byHand = `
apiVersion: multinic.io/v1
kind: MultiNicNodeConfig
metadata: {name: NAME, namespace: multinic-system}
spec:
  nodeName: NAME
  providerId: provider-a
  specHash: theirs
  interfaces:
  - {name: multinic7, macAddress: "FA:16:3E:00:02:00", address: 10.100.2.10, cidr: 10.100.2.10/24, mtu: 1450, portId: PORT}
`

func (c *cluster) made(name, port string) {
	c.t.Helper()
	if out, err := c.Apply(c.t.Context(), replace(byHand, "NAME", name, "PORT", port)); err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
}

func TestNobodysObjectIsTouchedButThePublishersOwn(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	d := c.door("--unknown-nodes", "publish", "--removals", "all")
	c.made("owner-hand", "p")
	c.made("owner-other", "p")
	c.kubectl("label", "-n", v1.SystemNamespace, "mnnc/owner-other", v1.PublisherLabel+"=multinic-openstack")
	before := map[string]*v1.MultiNicNodeConfig{}
	for _, name := range []string{"owner-hand", "owner-other"} {
		before[name] = c.object(name)
	}
	d.publish(
		node{NodeName: "owner-hand", Interfaces: ports(2, 2)}, node{NodeName: "owner-other"}, node{NodeName: "owner-free", Interfaces: ports(3, 1)},
	).says(t, "200 created:owner-free NotOurs:owner-hand NotOurs:owner-other")
	for name, was := range before {
		if diff := cmp.Diff(was, c.object(name)); diff != "" {
			t.Errorf("%s was touched:\n%s", name, diff)
		}
	}
}

func TestAHandOverChangesTheOwnerAndNoGeneration(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	d := c.door("--unknown-nodes", "publish")
	nics := ports(2, 1)
	c.made("handed", nics[0].PortID)
	was := c.object("handed")
	sent := node{NodeName: "handed", Interfaces: nics}
	d.publish(sent).says(t, "422 NotOurs:handed")
	c.kubectl("annotate", "-n", v1.SystemNamespace, "mnnc/handed", v1.HandOverAnnotation+"="+v1.PublisherIntake)
	d.publish(sent).says(t, "200 changed:handed")
	is := c.object("handed")
	if is.Labels[v1.PublisherLabel] != v1.PublisherIntake || metav1.HasAnnotation(is.ObjectMeta, v1.HandOverAnnotation) {
		t.Errorf("labels %v, annotations %v", is.Labels, is.Annotations)
	}
	if diff := cmp.Diff(was.Spec, is.Spec); diff != "" || is.Generation != was.Generation || is.UID != was.UID {
		t.Errorf("generation %d, then %d:\n%s", was.Generation, is.Generation, diff)
	}
	d.publish(sent).says(t, "200 unchanged:handed")
	nics[0].MTU = 1400
	d.publish(sent).says(t, "200 changed:handed")
	if is := c.object("handed"); *is.Spec.Interfaces[0].MTU != 1400 || is.Generation != was.Generation+1 || is.Spec.SpecHash != "" || *is.Spec.Interfaces[0].ID != 7 {
		t.Errorf("generation %d, %+v", is.Generation, is.Spec)
	}
	// And away again: the owner's word is enough for that, too.
	c.kubectl("annotate", "-n", v1.SystemNamespace, "mnnc/handed", v1.HandOverAnnotation+"=multinic-openstack")
	nics[0].MTU = 1300
	d.publish(sent).says(t, "422 HandedOver:handed")
}

// Who publishes, and somebody who edits the same object: what was published counts, and no field of the other is lost that is none of ours.
func TestWhatSomebodyEditsInOurObjectIsPutBackByTheNextRequest(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	d := c.door("--unknown-nodes", "publish")
	sent := node{NodeName: "edited", InstanceID: "edited-1", Interfaces: ports(4, 1)}
	d.publish(sent).says(t, "200 created:edited")
	c.kubectl("patch", "-n", v1.SystemNamespace, "mnnc/edited", "--type=json", "-p", `[{"op":"replace","path":"/spec/interfaces/0/mtu","value":9000},
		{"op":"add","path":"/metadata/labels/team","value":"net"},{"op":"add","path":"/spec/specHash","value":"by-hand"}]`)
	d.publish(sent).says(t, "200 changed:edited")
	if o := c.object("edited"); *o.Spec.Interfaces[0].MTU != 1450 || o.Labels["team"] != "net" || o.Spec.SpecHash != "" {
		t.Errorf("%v %+v", o.Labels, o.Spec)
	}
	d.publish(sent).says(t, "200 unchanged:edited")
}

func TestWhatAListSaysAboutNICsThatItHasNot(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	keep, apply, all := c.door("--unknown-nodes", "publish"), c.door("--unknown-nodes", "publish", "--removals", "apply"), c.door("--unknown-nodes", "publish", "--removals", "all")
	sent, less, none := node{NodeName: "shrinks", Interfaces: ports(5, 2)}, node{NodeName: "shrinks", Interfaces: ports(5, 1)}, node{NodeName: "shrinks"}
	const both, first = "multinic0=fa:16:3e:00:05:00 multinic1=fa:16:3e:00:05:01", "multinic0=fa:16:3e:00:05:00"
	for _, row := range []struct {
		name string
		d    *door
		sent node
		says string
		nics string
	}{
		{"two NICs", keep, sent, "200 created:shrinks", both},
		{"keep: one is not in the list", keep, less, "200 unchanged:shrinks", both},
		{"keep: none is in the list", keep, none, "200 unchanged:shrinks", both},
		{"apply: none is in the list", apply, none, "422 EmptyList:shrinks", both},
		{"apply: one is not in the list", apply, less, "200 changed:shrinks", first},
		{"it comes back under its id", keep, sent, "200 changed:shrinks", both},
		{"all: none is in the list", all, none, "200 changed:shrinks", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.d.publish(row.sent).says(t, row.says)
			if got := nics(c.object("shrinks")); got != row.nics {
				t.Errorf("the object has %q, want %q", got, row.nics)
			}
		})
	}
}
