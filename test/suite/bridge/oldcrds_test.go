package bridge

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge"
	"multinicd/internal/bridge/rollout"
	"multinicd/test/bed"
)

// oldCRD is the definition of MultiNicNodeConfigs as 0.1.0 had it: without what has
// been added to the status since.
func oldCRD(t *testing.T) string {
	t.Helper()
	return editedCRD(t, func(_ map[string]any, versions []map[string]any) []map[string]any {
		for _, version := range versions {
			status := []string{"schema", "openAPIV3Schema", "properties", "status", "properties"}
			for _, field := range [][]string{{"releasedAt"}, {"reportLevel"}, {"interfaceStatuses", "items", "properties", "outcome"}} {
				at := slices.Concat(status, field)
				if _, there, err := unstructured.NestedMap(version, at...); !there || err != nil {
					t.Fatalf("%s: %v", strings.Join(at, "."), err)
				}
				unstructured.RemoveNestedField(version, at...)
			}
		}
		return versions
	})
}

// editedCRD is the definition of MultiNicNodeConfigs after an edit, which gives the
// versions that it is to have.
func editedCRD(t *testing.T, edit func(crd map[string]any, versions []map[string]any) []map[string]any) string {
	t.Helper()
	data, err := os.ReadFile(bed.Path(t, "deploy/crds.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for doc := range strings.SplitSeq(string(data), "\n---\n") {
		var crd map[string]any
		if err := yaml.Unmarshal([]byte(doc), &crd); err != nil {
			t.Fatal(err)
		}
		if kind, _, _ := unstructured.NestedString(crd, "spec", "names", "kind"); kind != v1.NodeConfigKind {
			continue
		}
		found, _, err := unstructured.NestedSlice(crd, "spec", "versions")
		if err != nil {
			t.Fatal(err)
		}
		var versions []map[string]any
		for i, v := range found {
			version, ok := v.(map[string]any)
			if !ok {
				t.Fatalf("version %d is a %T", i, v)
			}
			versions = append(versions, version)
		}
		var edited []any
		for _, v := range edit(crd, versions) {
			edited = append(edited, v)
		}
		if err := unstructured.SetNestedSlice(crd, edited, "spec", "versions"); err != nil {
			t.Fatal(err)
		}
		out, err := yaml.Marshal(crd)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	t.Fatal("deploy/crds.yaml has no " + v1.NodeConfigKind)
	return ""
}

// serve has the API server serve MultiNicNodeConfigs by a definition, and waits
// until their status has, or has not, the field releasedAt.
func (c *cluster) serve(definition string, now bool) {
	c.t.Helper()
	file := filepath.Join(c.t.TempDir(), "crd.yaml")
	if err := os.WriteFile(file, []byte(definition), 0o600); err != nil {
		c.t.Fatal(err)
	}
	ctx := context.WithoutCancel(c.t.Context())
	if _, err := c.Kubectl(ctx, "apply", "--server-side", "--force-conflicts", "-f", file); err != nil {
		c.t.Fatal(err)
	}
	probe := &node{c: c, name: "probe-of-the-definition"}
	o := probe.shell()
	o.Spec = v1.MultiNicNodeConfigSpec{NodeName: o.Name}
	if err := client.IgnoreAlreadyExists(c.admin.Create(ctx, o)); err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = c.admin.Delete(ctx, probe.shell()) }()
	c.eventually("the definition is in force", func() string {
		err := c.admin.Status().Patch(ctx, probe.shell(), client.RawPatch("application/apply-patch+yaml",
			[]byte(`{"apiVersion":"multinic.io/v1","kind":"MultiNicNodeConfig","status":{"releasedAt":"2026-01-01T00:00:00Z"}}`)),
			client.FieldOwner("test"), client.ForceOwnership)
		if now && err != nil || !now && (err == nil || !strings.Contains(err.Error(), "releasedAt")) {
			return fmt.Sprint("it is not yet: ", err)
		}
		return ""
	})
}

// CRDs that somebody else manages, or that are taken back, may be older than the
// bridge: that must cost no status, with objects that have the newer fields or not,
// and a rollout goes on as under an older bridge.
func TestABridgeThatIsNewerThanTheCRDs(t *testing.T) {
	c := newCluster(t)
	data, err := os.ReadFile(bed.Path(t, "deploy/crds.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	level := func(n *node, want int32) {
		t.Helper()
		c.eventually(fmt.Sprintf("%s is at level %d", n.name, want), func() string {
			if got := n.status().ReportLevel; got != want {
				return fmt.Sprintf("it is at %d", got)
			}
			return ""
		})
	}
	const done = "Configured Ready=True AllInterfacesConfigured 2/2 generation "
	var ahead atomic.Int64 // is the bridge's clock
	c.startBridgeWith(bridge.Options{Rollout: rollout.Options{Max: "1"}, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	n := c.node("known-by-new-crds")
	o := n.publish()
	n.say(n.report(o, v1.StateConfigured, v1.ReasonConfigured))
	n.becomes(done + "1")
	level(n, v1.ReportLevel)
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: v1.LeaseName(n.name)}}
	renewal := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"renewTime":"2026-01-01T00:00:00.000000Z"}}`))
	if err := c.admin.Patch(t.Context(), lease, renewal); err != nil { // nobody else is released
		t.Fatal(err)
	}

	t.Cleanup(func() { c.serve(string(data), true) })
	c.serve(oldCRD(t), false)
	o = n.change("two")
	c.eventually("the change is released", func() string {
		if s := n.status(); s.ReleasedGeneration != 2 {
			return fmt.Sprintf("generation %d is", s.ReleasedGeneration)
		}
		return ""
	})
	n.say(n.report(o, v1.StateConfigured, v1.ReasonConfigured))
	n.becomes(done + "2")
	young := c.node("known-by-old-crds")
	o = young.publish()
	young.say(young.report(o, v1.StateFailed, v1.ReasonProbeFailed))
	young.becomes("Failed Ready=False InterfacesFailed 0/2 generation 1")
	level(n, 0)
	level(young, 0)

	c.serve(string(data), true)
	ahead.Store(int64(time.Minute)) // which is how often it tries
	n.say(n.report(n.change("three"), v1.StateConfigured, v1.ReasonConfigured))
	n.becomes(done + "3")
	level(n, v1.ReportLevel)
	young.say(young.report(o, v1.StateConfigured, v1.ReasonConfigured))
	young.becomes(done + "1")
	level(young, v1.ReportLevel)
}
