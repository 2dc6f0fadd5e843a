package credential

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

// refusals are waited for at the end of the package: the API server takes a token that it has seen for 10 s more, and each test would wait
// for that alone.
var refusals struct {
	sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

// awaitRefusals fails where a token was good for more than 60 s.
func awaitRefusals() error {
	refusals.Wait()
	return errors.Join(refusals.errs...)
}

// refused sees to it that what a client's token stands on is gone, for that reason and no later one, and that it is worth nothing within 60 s:
// the test goes on meanwhile.
func (c *cluster) refused(as client.Client, why string) {
	c.t.Helper()
	c.eventually("what the token stands on is gone: "+why, func() string { return c.standing(c.tokens[as]) })
	name := c.t.Name()
	refusals.Go(func() {
		if err := worthless(as); err != nil {
			refusals.mu.Lock()
			defer refusals.mu.Unlock()
			refusals.errs = append(refusals.errs, fmt.Errorf("%s: %s: %w", name, why, err))
		}
	})
}

// refusedNow is refused for what another reason might hide later.
func (c *cluster) refusedNow(as client.Client, why string) {
	c.t.Helper()
	if err := worthless(as); err != nil {
		c.t.Fatalf("%s: %v", why, err)
	}
}

// worthless waits until a client's token is worth nothing, at most 60 s.
func worthless(as client.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		err := as.Get(ctx, client.ObjectKey{Namespace: v1.SystemNamespace, Name: "any"}, &v1.MultiNicNodeConfig{})
		if apierrors.IsUnauthorized(err) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after 60 s its token is still taken: %w", err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// standing tells that a token's ServiceAccount and what it is bound to are there, and the same as when it was made.
func (c *cluster) standing(token string) string {
	c.t.Helper()
	type ref struct {
		Name string
		UID  types.UID
	}
	var claims struct {
		Kubernetes struct {
			ServiceAccount ref
			Node, Secret   *ref
		} `json:"kubernetes.io"`
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		c.t.Fatal("the client has no token that is known")
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(text, &claims)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	there := func(o client.Object, r *ref) bool {
		if r == nil {
			return true
		}
		o.SetName(r.Name)
		err := c.admin.Get(c.t.Context(), client.ObjectKeyFromObject(o), o)
		if client.IgnoreNotFound(err) != nil {
			c.t.Fatal(err)
		}
		return err == nil && o.GetUID() == r.UID
	}
	if there(&corev1.ServiceAccount{ObjectMeta: inNodes("")}, &claims.Kubernetes.ServiceAccount) &&
		there(&corev1.Secret{ObjectMeta: inNodes("")}, claims.Kubernetes.Secret) && there(&corev1.Node{}, claims.Kubernetes.Node) {
		return "it is there"
	}
	return ""
}
