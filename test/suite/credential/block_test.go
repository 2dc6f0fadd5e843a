package credential

import (
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

// A machine that was put out has its kubelet still, and would be in again within half a minute.
func TestABlockedNodeGetsNoTokenByAnyDoorUntilItIsUnblocked(t *testing.T) {
	c := newCluster(t)
	c.bridge(nil)
	const node = "blocked"
	c.node(node)
	c.object(node)
	as := c.joined(node, v1.DoorKubelet)
	out := c.must("token", "revoke", "--node", node, "--block")
	if !strings.Contains(out, "revoked every token of node blocked") || !strings.Contains(out, "token unblock --node blocked") {
		t.Errorf("it says %q", out)
	}
	c.refused(as, "its token is revoked")
	kubelet := c.kubelet(node)
	if r := c.ask(kubelet, node, v1.DoorKubelet, newKey(t)); r.Status.Reason != v1.ReasonNodeBlocked || r.Status.SealedAt != nil {
		t.Errorf("by its kubelet it is answered with %q, sealed: %v", r.Status.Reason, r.Status.SealedAt)
	}
	c.event(v1.NodesNamespace, node, v1.ReasonNodeBlocked, "system:node:"+node)
	if _, errs, err := c.command("token", "create", "--node", node, "--replace"); err == nil || !strings.Contains(errs, "token unblock --node blocked") {
		t.Errorf("a join token can be made: %v %s", err, errs)
	}
	c.must("token", "revoke", "--node", node, "--block") // again: it is so already
	if list := c.must("token", "list"); !regexp.MustCompile(`(?m)^blocked .* since 20\S+$`).MatchString(list) {
		t.Errorf("the list does not say so:\n%s", list)
	}
	for body, as := range map[string]client.Client{`{"data":{"blocked":null}}`: kubelet, `{"data":null}`: as} {
		err := as.Patch(t.Context(), &corev1.ConfigMap{ObjectMeta: inNodes(v1.BlockedName)}, client.RawPatch(types.MergePatchType, []byte(body)))
		if !apierrors.IsForbidden(err) && !apierrors.IsUnauthorized(err) && !refusedBy(err, "no other ConfigMap") {
			t.Errorf("the node unblocks itself: %v", err)
		}
	}
	c.must("token", "unblock", "--node", node)
	if _, errs, err := c.command("token", "unblock", "--node", node); err == nil || !strings.Contains(errs, "is not blocked") {
		t.Errorf("twice: %v %s", err, errs)
	}
	c.joined(node, v1.DoorKubelet)
}

// The bridge notes on the Lease to which key it seals. The machine that is to go holds the right to
// write that Lease until then.
func TestAMachineCannotKeepItsPlaceByRenewingItsLease(t *testing.T) {
	c := newCluster(t)
	c.bridge(nil)
	const node = "clings"
	c.object(node)
	old := c.joined(node, v1.DoorJoinToken)
	join, key := c.bearer(c.invite(node, "--replace")), newKey(t)
	var writes atomic.Int64
	ended := make(chan error, 1)
	go func() {
		for {
			body, err := metav1.NowMicro().MarshalJSON()
			if err == nil {
				lease := &coordinationv1.Lease{ObjectMeta: inNodes(v1.LeaseName(node))}
				err = old.Patch(t.Context(), lease, client.RawPatch(types.MergePatchType, append(append([]byte(`{"spec":{"renewTime":`), body...), "}}"...)))
			}
			if err != nil {
				ended <- err
				return
			}
			writes.Add(1)
		}
	}()
	c.eventually("it writes all the time", func() string {
		if writes.Load() < 20 {
			return "not yet"
		}
		return ""
	})
	open(t, key, c.ask(join, node, v1.DoorJoinToken, key))
	// No more than its own token ends it.
	if err := <-ended; !apierrors.IsUnauthorized(err) {
		t.Errorf("after %d renewals: %v", writes.Load(), err)
	}
	lease := &coordinationv1.Lease{ObjectMeta: inNodes(v1.LeaseName(node))}
	if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(lease), lease); err != nil || len(lease.Annotations["multinic.io/sealed-keys"]) == 0 {
		t.Errorf("the key is noted: %v, %v", lease.Annotations, err)
	}
}
