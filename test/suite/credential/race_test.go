package credential

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/kube"
	"multinicd/test/bed"
	"multinicd/test/bed/product"
)

// Several machines start from one image, with the same join token in it: one gets in, the others are told, and hold nothing.
func TestMachinesThatRaceWithOneJoinTokenAreLetInOnce(t *testing.T) {
	c := newCluster(t)
	c.bridge(nil)
	const node, machines = "raced", 4
	c.object(node)
	file := v1.JoinFile{Token: c.invite(node), CA: c.CA}
	var (
		start  = make(chan struct{})
		all    sync.WaitGroup
		joined [machines]*kube.Joined
		errs   [machines]error
		dirs   [machines]product.Folder
	)
	ctx, cancel := context.WithTimeout(t.Context(), bed.Patience)
	defer cancel()
	for i := range machines {
		dirs[i] = product.Folder(t.TempDir())
		all.Go(func() {
			<-start
			joined[i], errs[i] = kube.Join(ctx, kube.Options{Node: node}, kube.Joining{Server: c.URL, File: file, Credential: string(dirs[i]), Store: dirs[i]})
		})
	}
	close(start)
	all.Wait()
	var in []int
	for i := range machines {
		entries, err := os.ReadDir(string(dirs[i]))
		if err != nil {
			t.Fatal(err)
		}
		if errs[i] != nil && len(entries) > 0 {
			t.Errorf("machine %d was not let in and stores %v", i, entries)
		}
		switch {
		case errs[i] == nil:
			in = append(in, i)
		case !errors.Is(errs[i], kube.ErrRequestTaken):
			t.Errorf("machine %d is told: %v", i, errs[i])
		case !strings.Contains(errs[i].Error(), "token revoke --node "+node):
			t.Errorf("machine %d is not told what to do if that was a thief: %v", i, errs[i])
		}
	}
	if len(in) != 1 {
		t.Fatalf("machines %v were let in, want one", in)
	}
	token, err := os.ReadFile(filepath.Join(string(dirs[in[0]]), "token"))
	if err != nil {
		t.Fatal(err)
	}
	secret = append(secret, strings.TrimSpace(string(token)))
	as := c.bearer(strings.TrimSpace(string(token)))
	if err := renew(t.Context(), as, node, joined[in[0]].Request); err != nil {
		t.Errorf("the one that was let in: %v", err)
	}
	c.gone(&v1.NodeTokenRequest{ObjectMeta: inNodes(node)})
	c.refused(c.bearer(file.Token), "the join token is used up")
	c.event(v1.NodesNamespace, node, "NodeJoined", v1.JoinAccountName(node))
}

// What was asked in time and is answered too late is refused.
func TestAJoinTokenThatEndsBeforeTheAnswerIsRefused(t *testing.T) {
	c := newCluster(t)
	stop := c.bridge(nil)
	const node = "too-late"
	c.object(node)
	join := c.bearer(c.invite(node))
	r := &v1.NodeTokenRequest{ObjectMeta: inNodes(node), Spec: v1.NodeTokenRequestSpec{Door: v1.DoorJoinToken, PublicKey: newKey(t).Public()}}
	c.eventually("the right to ask is there", func() string { return may(join.Create(t.Context(), r.DeepCopy(), client.DryRunAll)) })
	stop()
	if err := join.Create(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	c.delete(&corev1.ServiceAccount{ObjectMeta: inNodes(v1.JoinAccountName(node))})
	c.bridge(nil)
	if got := c.answer(c.admin, node); got.Status.Reason != v1.ReasonJoinTokenEnded || got.Status.SealedAt != nil {
		t.Errorf("it is answered with %q, sealed: %v", got.Status.Reason, got.Status.SealedAt)
	}
	c.event(v1.NodesNamespace, node, v1.ReasonJoinTokenEnded, v1.JoinAccountName(node))
	c.event(v1.SystemNamespace, node, v1.ReasonJoinTokenEnded, v1.JoinAccountName(node))
}

// A token that nobody uses does not lie about, nor does the way to another.
func TestARequestThatIsNotUsedGoesAfterTenMinutes(t *testing.T) {
	c := newCluster(t)
	at := &clock{}
	c.bridge(at)
	const node = "not-used"
	c.object(node)
	join, key := c.bearer(c.invite(node)), newKey(t)
	r := c.ask(join, node, v1.DoorJoinToken, key)
	open(t, key, r)
	at.forward(11 * time.Minute)
	body := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"wake":"up"}}}`)) // its timer runs by the real clock
	if err := c.admin.Patch(t.Context(), &v1.NodeTokenRequest{ObjectMeta: inNodes(node)}, body); client.IgnoreNotFound(err) != nil {
		t.Error(err)
	}
	c.gone(r)
	c.gone(&corev1.ServiceAccount{ObjectMeta: inNodes(v1.JoinAccountName(node))})
	c.refused(join, "its answer was not used")
	c.event(v1.NodesNamespace, node, "TokenNotUsed", "10 min")
}
