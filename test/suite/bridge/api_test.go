package bridge

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	v1 "multinicd/api/v1"
	"multinicd/test/bed"
)

// manifests are the files of a folder of the repository, by name.
func manifests(t *testing.T, pattern string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(bed.Path(t, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files match %s: %v", pattern, err)
	}
	out := map[string]string{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimSuffix(filepath.Base(file), ".yaml")] = string(data)
	}
	return out
}

func decode(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

// The same files are refused by Validate in api/v1, by the same field.
func TestBadObjectsAreRefusedByField(t *testing.T) {
	c := newCluster(t)
	bad := manifests(t, "api/v1/testdata/bad/*.yaml")
	if len(bad) < 40 {
		t.Errorf("%d bad objects, want at least 40", len(bad))
	}
	for name, text := range bad {
		t.Run(name, func(t *testing.T) {
			first, _, _ := strings.Cut(text, "\n")
			field := strings.TrimPrefix(first, "# field: ")
			err := c.admin.Create(t.Context(), decode(t, text), client.DryRunAll)
			if !apierrors.IsInvalid(err) {
				t.Fatalf("%v, want it refused as invalid", err)
			}
			if !strings.Contains(err.Error(), field+":") {
				t.Errorf("the field %s is not named: %v", field, err)
			}
			if _, after, ok := strings.Cut(text, "# message: "); ok {
				if message, _, _ := strings.Cut(after, "\n"); !strings.Contains(err.Error(), message) {
					t.Errorf("the message is not %q: %v", message, err)
				}
			}
		})
	}
}

func TestGoodObjectsAreAccepted(t *testing.T) {
	c := newCluster(t)
	for _, pattern := range []string{"api/v1/testdata/good/*.yaml", "examples/*.yaml"} {
		for name, text := range manifests(t, pattern) {
			if strings.Contains(text, "kind: Job") {
				continue // test/suite/credential applies it
			}
			t.Run(name, func(t *testing.T) {
				o := decode(t, text)
				if err := c.admin.Create(t.Context(), o, client.DryRunAll); err != nil {
					t.Fatal(err)
				}
				if data, err := o.MarshalJSON(); err != nil || strings.Contains(string(data), `"subnetId"`) {
					t.Errorf("an unknown field is kept: %s, %v", data, err)
				}
			})
		}
	}
}

// warnings collects what the API server warns of.
type warnings struct {
	mu   sync.Mutex
	said []string
}

func (w *warnings) HandleWarningHeaderWithContext(_ context.Context, _ int, _ string, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, text)
}

func TestBothVersionsAreOneObject(t *testing.T) {
	c := newCluster(t)
	n := c.node("versions")
	w := &warnings{}
	cfg := c.config("")
	cfg.WarningHandlerWithContext = w
	cl := newClient(t, rest.CopyConfig(cfg))

	o := decode(t, manifests(t, "examples/v1alpha1.yaml")["v1alpha1"])
	o.SetName(n.name)
	if err := unstructured.SetNestedField(o.Object, n.name, "spec", "nodeName"); err != nil {
		t.Fatal(err)
	}
	if err := cl.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(w.said, func(s string) bool { return strings.Contains(s, "v1alpha1 is deprecated") }) {
		t.Errorf("no warning that v1alpha1 is deprecated: %q", w.said)
	}
	got := n.shell()
	if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(got), got); err != nil {
		t.Fatal(err)
	}
	if len(got.Spec.Interfaces) != 1 || *got.Spec.Interfaces[0].ID != 0 {
		t.Errorf("as v1 it is %+v", got.Spec)
	}
	for _, selector := range []string{"spec.nodeName=versions", "spec.instanceId=i-0123456789abcdef4"} {
		out, err := c.Kubectl(t.Context(), "get", "mnnc", "-A", "-o", "name", "--field-selector", selector)
		if err != nil || strings.TrimSpace(out) != "multinicnodeconfig.multinic.io/versions" {
			t.Errorf("%s selects %q: %v", selector, out, err)
		}
	}
}

// older spoil an object so that it is one as may lie in a cluster since before
// there were rules.
var older = map[string]func(spec map[string]any, nics []map[string]any){
	"older-mac":     func(_ map[string]any, nics []map[string]any) { nics[0]["macAddress"] = "02-00-00-00-01-01" },
	"older-name":    func(spec map[string]any, _ []map[string]any) { spec["nodeName"] = "another" },
	"older-twice":   func(_ map[string]any, nics []map[string]any) { nics[1]["macAddress"] = nics[0]["macAddress"] },
	"older-no-id":   func(_ map[string]any, nics []map[string]any) { delete(nics[0], "id") },
	"older-gateway": func(_ map[string]any, nics []map[string]any) { nics[0]["gateway"] = nics[0]["address"] },
	"older-route": func(_ map[string]any, nics []map[string]any) {
		nics[0]["routes"] = []any{map[string]any{"to": "2001:db8::/32"}, map[string]any{"to": "10.20.0.0/16", "via": nics[0]["address"]}}
	},
	"older-no-length": func(_ map[string]any, nics []map[string]any) { delete(nics[0], "cidr") },
	"older-id": func(_ map[string]any, nics []map[string]any) {
		nics[0]["id"], nics[1]["id"] = int64(1<<31-1), int64(-1)
	},
	"older-hash":     func(spec map[string]any, _ []map[string]any) { spec["specHash"] = strings.Repeat("h", 1000) },
	"older-line-end": func(spec map[string]any, _ []map[string]any) { spec["specHash"] = "abc123\n\x1b[2J\ufffd" },
	"older-many": func(spec map[string]any, nics []map[string]any) {
		many := []any{nics[0], nics[1]}
		for len(many) < 70 {
			many = append(many, map[string]any{"macAddress": "x"})
		}
		spec["interfaces"] = many
	},
}

// spoiled is the example under another name, made worse.
func spoiled(t *testing.T, name string, spoil func(map[string]any, []map[string]any)) *unstructured.Unstructured {
	t.Helper()
	o := decode(t, manifests(t, "examples/worker-node-01.yaml")["worker-node-01"])
	o.SetAPIVersion(v1.AlphaGroupVersion.String())
	o.SetName(name)
	o.SetLabels(nil)
	spec, ok := o.Object["spec"].(map[string]any)
	if !ok {
		t.Fatal("the example has no spec")
	}
	spec["nodeName"] = name
	list, _, err := unstructured.NestedSlice(spec, "interfaces")
	if err != nil {
		t.Fatal(err)
	}
	var nics []map[string]any
	for _, n := range list {
		if m, ok := n.(map[string]any); ok {
			nics = append(nics, m)
		}
	}
	spec["interfaces"] = list
	spoil(spec, nics)
	return o
}

func TestAnObjectOlderThanTheRulesStillGetsItsStatus(t *testing.T) {
	c := newCluster(t)
	crd := &unstructured.Unstructured{}
	crd.SetAPIVersion("apiextensions.k8s.io/v1")
	crd.SetKind("CustomResourceDefinition")
	key := client.ObjectKey{Name: "multinicnodeconfigs.multinic.io"}
	if err := c.admin.Get(t.Context(), key, crd); err != nil {
		t.Fatal(err)
	}
	rules := crd.DeepCopy()
	withoutRules(crd.Object["spec"])
	if err := c.setRules(t.Context(), key, crd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Also if the test ends here: the other tests want the rules.
		if err := c.setRules(context.WithoutCancel(t.Context()), key, rules); err != nil {
			t.Error(err)
		}
	})
	nodes := map[string]*node{}
	for name, spoil := range older {
		n := c.node(name)
		nodes[name] = n
		o := spoiled(t, name, spoil)
		// The API server takes a new schema into use a moment after it has it.
		c.eventually("the object without rules is accepted", func() string {
			if err := c.admin.Create(t.Context(), o.DeepCopy()); err != nil {
				return err.Error()
			}
			return ""
		})
	}
	if err := c.setRules(t.Context(), key, rules); err != nil {
		t.Fatal(err)
	}
	bad := decode(t, manifests(t, "api/v1/testdata/bad/mac-*.yaml")["mac-with-dashes"])
	c.eventually("the rules are in force", func() string {
		if err := c.admin.Create(t.Context(), bad.DeepCopy(), client.DryRunAll); !apierrors.IsInvalid(err) {
			return "a bad object is accepted"
		}
		return ""
	})

	c.startBridge(v1.SilentAfter)
	for name, n := range nodes {
		c.eventually("the status of "+name+" is written", func() string {
			if s := n.status(); s.State != v1.StatePending || s.ObservedGeneration != 1 {
				return "it is " + brief(s)
			}
			return ""
		})
		o := n.shell()
		if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			t.Fatal(err)
		}
		r := n.report(o, v1.StateFailed, v1.ReasonInvalidSpec)
		r.SpecHash = ""
		r.Refused = &v1.Remark{Reason: v1.ReasonInvalidSpec, Message: "see the rules"}
		n.say(r)
		c.eventually("the status of "+name+" follows the report", func() string {
			if s := n.status(); s.State != v1.StateFailed || !strings.Contains(brief(s), v1.ReasonInvalidSpec) {
				return "it is " + brief(s)
			}
			return ""
		})
		// A publisher may go on writing labels, but nothing new that is wrong.
		if err := c.admin.Patch(t.Context(), n.shell(), client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`))); err != nil {
			t.Errorf("%s cannot be labelled: %v", name, err)
		}
	}
	err := c.admin.Patch(t.Context(), nodes["older-name"].shell(), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"specHash":"x"}}`)))
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "spec.nodeName") {
		t.Errorf("a new spec with the name of another node: %v", err)
	}
}

// setRules gives a CRD another spec. The API server writes into its status meanwhile.
func (c *cluster) setRules(ctx context.Context, key client.ObjectKey, want *unstructured.Unstructured) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		crd := want.DeepCopy()
		if err := c.admin.Get(ctx, key, crd); err != nil {
			return err
		}
		crd.Object["spec"] = want.Object["spec"]
		return c.admin.Update(ctx, crd)
	})
}

// withoutRules takes out of a schema what a first version of it would not have.
func withoutRules(v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range []string{"x-kubernetes-validations", "maxLength", "minLength", "maxItems", "minimum", "maximum"} {
			// Not a property that happens to be called so.
			if _, schema := v["type"]; schema {
				delete(v, k)
			}
		}
		for _, below := range v {
			withoutRules(below)
		}
	case []any:
		for _, below := range v {
			withoutRules(below)
		}
	}
}

func TestTheStatusBelongsToTheBridge(t *testing.T) {
	c := newCluster(t)
	n := c.node("status-owner")
	o := n.publish()
	c.eventually("the node has its rights", func() string {
		if err := n.client.Get(t.Context(), client.ObjectKeyFromObject(o), n.shell()); err != nil {
			return err.Error()
		}
		return ""
	})
	patch := client.RawPatch(types.MergePatchType, []byte(`{"status":{"state":"Configured"}}`))
	if err := n.client.Status().Patch(t.Context(), o, patch); !apierrors.IsForbidden(err) {
		t.Errorf("a node writes status: %v", err)
	}
	if err := n.client.Patch(t.Context(), o, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"specHash":"x"}}`))); !apierrors.IsForbidden(err) {
		t.Errorf("a node writes spec: %v", err)
	}
	list := &v1.MultiNicNodeConfigList{}
	if err := n.client.List(t.Context(), list, client.InNamespace(v1.SystemNamespace)); !apierrors.IsForbidden(err) {
		t.Errorf("a node lists every object: %v", err)
	}
	own := client.MatchingFields{"metadata.name": n.name}
	if err := n.client.List(t.Context(), list, client.InNamespace(v1.SystemNamespace), own); err != nil || len(list.Items) != 1 {
		t.Errorf("a node lists its own object: %d, %v", len(list.Items), err)
	}
	for _, account := range []string{v1.BridgeAccount, v1.CredentialsAccount} {
		bridge := c.as("system:serviceaccount:" + v1.SystemNamespace + ":" + account)
		if err := bridge.Delete(t.Context(), &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: n.name, Namespace: v1.SystemNamespace}}); !apierrors.IsForbidden(err) {
			t.Errorf("%s deletes objects: %v", account, err)
		}
	}
}
