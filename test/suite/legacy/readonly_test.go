package legacy

import (
	"context"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/legacy"
	"multinicd/test/bed"
	"multinicd/test/bed/product"
)

// In the second phase the publisher writes the status alone, and the API server refuses every change of the older object's spec. What belongs to the older
// object is given away node by node.
func TestTheOlderObjectIsReadOnly(t *testing.T) {
	c := newCluster(t, 3)
	p := c.publisher()
	c.write(entry(1, 0x101), entry(2, 0x201))
	c.are("worker-1 multinic-legacy g1 multinic0=0101", "worker-2 multinic-legacy g1 multinic0=0201")
	c.done(1, 2)
	c.says("Applied Ready 2/2")
	p.Stop()
	c.write(entry(1, 0x102), entry(2, 0x201), entry(3, 0x301)) // while nobody looked
	c.publisher("--read-only")
	c.says("InProgress Unguarded 2/3; worker-1 Configured ReadOnly; worker-3 Pending ReadOnly")
	if cond := meta.FindStatusCondition(c.older().Status.Conditions, legacy.ConditionUnguarded); !strings.Contains(cond.Message, "multinic-legacy-readonly") {
		t.Errorf("it says %q", cond.Message)
	}
	c.readOnly()
	c.says("InProgress 2/3; worker-1 Configured ReadOnly; worker-3 Pending ReadOnly")
	c.are("worker-1 multinic-legacy g1 multinic0=0101", "worker-2 multinic-legacy g1 multinic0=0201")

	const says = "MultiNicBizConfig is read-only: change the MultiNicNodeConfig of the node, in multinic-system; docs/migration.md says how"
	o := c.older()
	o.Spec.NodeConfigs = nil
	c.refused(c.admin.Update(t.Context(), o), says)
	c.refused(c.admin.Create(t.Context(), &v1.MultiNicBizConfig{ObjectMeta: metav1.ObjectMeta{Name: "another", Namespace: v1.SystemNamespace}}), says)
	o = c.older()
	metav1.SetMetaDataLabel(&o.ObjectMeta, "team", "net")
	c.must(c.admin.Update(t.Context(), o))

	// The status goes on, whoever writes the object of a node by now.
	c.theirs(3, "viola", 0x302)
	c.annotate(2, v1.PublisherIntake)
	c.state(1, v1.StateFailed, metav1.ConditionFalse, "InterfacesFailed")
	c.done(3)
	c.says("2/3; worker-1 Failed ReadOnly; worker-2 Configured HandedOver; worker-3 Configured NotOurs")
	c.are("worker-1 multinic-legacy g1 multinic0=0101", "worker-2 multinic-legacy g1 multinic0=0201", "worker-3 viola g1 multinic7=0302")

	c.must(c.admin.Delete(t.Context(), c.older()))
	c.are("worker-1 multinic-legacy g1 multinic0=0101", "worker-2 multinic-legacy g1 multinic0=0201", "worker-3 viola g1 multinic7=0302")
}

// readOnly applies the policy until the test ends, and waits until it is in force.
func (c *cluster) readOnly() {
	c.t.Helper()
	manifest := bed.Path(c.t, "deploy/legacy-readonly.yaml")
	_, err := c.Kubectl(c.t.Context(), "apply", "-f", manifest)
	c.must(err)
	probe := func(want string) {
		bed.Eventually(c.t, "a change of the older object", want, func() string {
			probe := &v1.MultiNicBizConfig{ObjectMeta: metav1.ObjectMeta{Name: "probe", Namespace: v1.SystemNamespace}}
			if err := c.admin.Create(context.WithoutCancel(c.t.Context()), probe, client.DryRunAll); err != nil {
				return "refused"
			}
			return "taken"
		})
	}
	probe("refused")
	c.t.Cleanup(func() {
		if out, err := c.Kubectl(context.WithoutCancel(c.t.Context()), "delete", "-f", manifest); err != nil {
			c.t.Errorf("removing the policy: %v\n%s", err, out)
		}
		probe("taken")
	})
}

func (c *cluster) refused(err error, want string) {
	c.t.Helper()
	if err == nil || !(apierrors.IsInvalid(err) || apierrors.IsForbidden(err)) || !strings.Contains(err.Error(), want) {
		c.t.Errorf("got %v, want it refused: %s", err, want)
	}
}

// Whoever has the publisher's token changes nothing that is not the publisher's.
func TestThePublishersTokenChangesOnlyItsOwn(t *testing.T) {
	c := newCluster(t, 3)
	c.theirs(1, v1.PublisherLegacy, 0x101)
	c.theirs(2, v1.PublisherIntake, 0x201)
	c.theirs(3, v1.PublisherIntake, 0x301)
	c.annotate(3, v1.PublisherLegacy)
	as := c.Config()
	as.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:multinic-system:" + v1.PublisherLegacy}
	thief, err := product.Client(as)
	c.must(err)
	const (
		changes = "changes objects with the label"
		writes  = "has the label multinic.io/publisher=multinic-legacy"
		sets    = "sets the labels"
		none    = "cannot"
	)
	patch := func(node int, body string) func() error {
		o := c.object(node)
		return func() error {
			return thief.Patch(t.Context(), o, client.RawPatch("application/merge-patch+json", []byte(body)), client.DryRunAll)
		}
	}
	bed.Eventually(t, "its own, with a label,", "refused", func() string {
		if err := patch(1, `{"metadata":{"labels":{"a":"b"}}}`)(); err == nil || !strings.Contains(err.Error(), sets) {
			return fmt.Sprint("not yet: ", err) // the API server goes by a new policy after a moment
		}
		return "refused"
	})
	for name, row := range map[string]struct {
		do   func() error
		want string // "": done
	}{
		"its own":                       {patch(1, `{"spec":{"specHash":"x"}}`), ""},
		"somebody else's":               {patch(2, `{"spec":{"specHash":"x"}}`), changes},
		"what is handed over, taken":    {patch(3, `{"metadata":{"labels":{"multinic.io/publisher":"multinic-legacy"},"annotations":{"multinic.io/hand-over-to":null}}}`), ""},
		"what is handed over, as it is": {patch(3, `{"spec":{"specHash":"x"}}`), writes},
		"its own, given to somebody":    {patch(1, `{"metadata":{"annotations":{"multinic.io/hand-over-to":"x"}}}`), writes},
		"its own, with a finalizer":     {patch(1, `{"metadata":{"finalizers":["a.b/c"]}}`), sets},
		"its own, with a label":         {patch(1, `{"metadata":{"labels":{"a":"b"}}}`), sets},
		"the status of its own": {func() error {
			return thief.Status().Patch(t.Context(), c.object(1), client.RawPatch("application/merge-patch+json", []byte(`{"status":{"state":"Configured"}}`)), client.DryRunAll)
		}, none},
		"the end of its own": {func() error { return thief.Delete(t.Context(), c.object(1), client.DryRunAll) }, none},
		"the older object's spec": {func() error {
			return thief.Create(t.Context(), &v1.MultiNicBizConfig{ObjectMeta: metav1.ObjectMeta{Name: "x", Namespace: v1.SystemNamespace}})
		}, none},
	} {
		t.Run(name, func(t *testing.T) {
			if row.want == "" {
				if err := row.do(); err != nil {
					t.Error(err)
				}
				return
			}
			c := *c
			c.t = t
			c.refused(row.do(), row.want)
		})
	}
}
