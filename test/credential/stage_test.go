package credential

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	v1 "multinicd/api/v1"
)

// The nodes of the matrix.
const nodeA, nodeB = "matrix-a", "matrix-b"

// stage has what the matrix is tried on, and the identities that try.
type stage struct {
	c       *cluster
	admin   dynamic.Interface
	clients []dynamic.Interface // in the order of identities
	plain   []*rest.RESTClient
}

// newStage makes two nodes that have joined, an invitation for A, and requests
// that wait. The bridge is stopped then: it would clean up.
func newStage(c *cluster) *stage {
	c.t.Helper()
	stop := c.bridge(nil)
	var token string
	for _, node := range []string{nodeA, nodeB} {
		c.node(node)
		c.object(node)
		kubelet, key := c.kubelet(node), newKey(c.t)
		r := c.ask(kubelet, node, v1.DoorKubelet, key)
		as := open(c.t, key, r)
		if node == nodeA {
			token = as
		}
		if err := renew(c.t.Context(), c.bearer(as), node, r.UID); err != nil {
			c.t.Fatal(err)
		}
		c.gone(r)
	}
	join := c.invite(nodeA, "--replace")
	stop()
	for _, kind := range []string{"node", "join"} {
		// One that the bridge or the command has made already is as good.
		if out, err := c.Kubectl(c.t.Context(), "create", "secret", "generic", "multinic-"+kind+"-"+nodeA, "-n", v1.NodesNamespace); err != nil && !strings.Contains(err.Error(), "AlreadyExists") && !strings.Contains(err.Error(), "already exists") {
			c.t.Fatal(out, err)
		}
	}
	s := &stage{c: c}
	admin, err := dynamic.NewForConfig(c.Config())
	if err != nil {
		c.t.Fatal(err)
	}
	s.admin = admin
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: v1.SystemNamespace, Name: "multinic-bridge"}}
	if err := c.admin.Create(c.t.Context(), lease); err != nil && !apierrors.IsAlreadyExists(err) {
		c.t.Fatal(err) // a bridge that stood for election has made it
	}
	der, err := base64.StdEncoding.DecodeString(csr)
	if err != nil {
		c.t.Fatal(err)
	}
	c.create(&certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: "matrix-csr"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: der, SignerName: "example.com/x", Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth},
		},
	})
	for _, cfg := range []*rest.Config{
		c.bearerConfig(token),
		c.bearerConfig(join),
		c.kubeletConfig(nodeA),
		c.bearerConfig(c.kubectl("create", "token", "multinic-viola", "-n", v1.SystemNamespace)),
		c.bearerConfig(c.kubectl("create", "token", v1.BridgeAccount, "-n", v1.SystemNamespace)),
		c.bearerConfig(""),
	} {
		as, err := dynamic.NewForConfig(cfg)
		if err != nil {
			c.t.Fatal(err)
		}
		s.clients = append(s.clients, as)
		cfg.GroupVersion, cfg.NegotiatedSerializer = &schema.GroupVersion{}, plainCodec()
		plain, err := rest.UnversionedRESTClientFor(cfg)
		if err != nil {
			c.t.Fatal(err)
		}
		s.plain = append(s.plain, plain)
	}
	return s
}

// target is what a name of the matrix stands for.
type target struct {
	resource        schema.GroupVersionResource
	kind            string
	namespace, name string
	sub             string
	body            map[string]any // merged in by patch, or the rest of what is created
}

func gvr(group, version, resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group, Version: version, Resource: resource}
}

// try makes one request as one identity: y, - or p, and what was answered.
func (s *stage) try(who int, verb, object string) (byte, error) {
	s.c.t.Helper()
	ctx := s.c.t.Context()
	if object == "version of the API server" {
		return outcome(s.c.t, s.plain[who].Get().AbsPath("/version").Do(ctx).Error())
	}
	tg := s.target(object, who)
	as := in(s.clients[who], tg)
	var sub []string
	if tg.sub != "" {
		sub = []string{tg.sub}
	}
	all := []string{metav1.DryRunAll}
	byName := metav1.ListOptions{FieldSelector: "metadata.name=" + tg.name}
	var err error
	switch verb {
	case "get":
		_, err = as.Get(ctx, tg.name, metav1.GetOptions{}, sub...)
	case "list":
		_, err = as.List(ctx, metav1.ListOptions{})
	case "list by name":
		_, err = as.List(ctx, byName)
	case "watch", "watch by name":
		o := metav1.ListOptions{}
		if verb != "watch" {
			o = byName
		}
		o.TimeoutSeconds = new(int64(1))
		w, open := as.Watch(ctx, o)
		if err = open; err == nil {
			w.Stop()
		}
	case "create":
		o := &unstructured.Unstructured{Object: map[string]any{}}
		for k, v := range tg.body {
			o.Object[k] = v
		}
		o.SetGroupVersionKind(tg.resource.GroupVersion().WithKind(tg.kind))
		if tg.sub == "" {
			o.SetName(tg.name)
			_, err = as.Create(ctx, o, metav1.CreateOptions{DryRun: all})
		} else {
			o.SetGroupVersionKind(schema.GroupVersionKind{Group: "authentication.k8s.io", Version: "v1", Kind: tg.kind})
			o.SetName(tg.name)
			_, err = as.Create(ctx, o, metav1.CreateOptions{DryRun: all}, sub...)
		}
	case "update":
		o, missing := in(s.admin, tg).Get(ctx, tg.name, metav1.GetOptions{})
		if missing != nil {
			s.c.t.Fatalf("%s: %v", object, missing)
		}
		_, err = as.Update(ctx, o, metav1.UpdateOptions{DryRun: all}, sub...)
	case "patch":
		body, bad := (&unstructured.Unstructured{Object: tg.body}).MarshalJSON()
		if bad != nil {
			body = []byte(asJSON(s.c.t, tg.body))
		}
		_, err = as.Patch(ctx, tg.name, types.MergePatchType, body, metav1.PatchOptions{DryRun: all}, sub...)
	case "delete":
		err = as.Delete(ctx, tg.name, metav1.DeleteOptions{DryRun: all})
	case "deletecollection":
		err = as.DeleteCollection(ctx, metav1.DeleteOptions{DryRun: all}, metav1.ListOptions{})
	default:
		s.c.t.Fatalf("no such verb: %s", verb)
	}
	return outcome(s.c.t, err)
}

func in(as dynamic.Interface, tg target) dynamic.ResourceInterface {
	if tg.namespace == "" {
		return as.Resource(tg.resource)
	}
	return as.Resource(tg.resource).Namespace(tg.namespace)
}

// outcome puts an answer into a letter. Who may do something may also find that
// there is no such thing; anything else that is no refusal is a mistake of the
// test.
func outcome(t *testing.T, err error) (byte, error) {
	t.Helper()
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return 'y', nil
	case apierrors.IsUnauthorized(err):
		return '-', err
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), `User "`) && strings.Contains(err.Error(), `" cannot `):
		return '-', err
	case apierrors.IsForbidden(err):
		return 'p', err
	case errors.As(err, &status) && strings.Contains(status.Status().Message, "ValidatingAdmissionPolicy"):
		return 'p', err
	}
	return '?', err
}

func (s *stage) key(node string) string {
	return base64.StdEncoding.EncodeToString([]byte(fmt.Sprintf("%-32s", node)))
}

// waiting makes, as whom it belongs to, a request that waits for an answer.
func (s *stage) waiting(node string) {
	s.c.t.Helper()
	as := s.c.kubelet(node)
	key := newKey(s.c.t)
	r := &v1.NodeTokenRequest{ObjectMeta: inNodes(node), Spec: v1.NodeTokenRequestSpec{Door: v1.DoorKubelet, PublicKey: key.Public()}}
	if err := as.Create(s.c.t.Context(), r); err != nil && !apierrors.IsAlreadyExists(err) {
		s.c.t.Fatal(err)
	}
}

// absent sees to it that a request can be made.
func (s *stage) absent(node string) {
	s.c.t.Helper()
	s.c.delete(&v1.NodeTokenRequest{ObjectMeta: inNodes(node)})
}
