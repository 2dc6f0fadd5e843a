package credential

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/test/bed"
)

// Every answer of an API server says by which flow schema and level the request was taken.
func TestRequestsOfNodesHaveALevelOfTheirOwn(t *testing.T) {
	c := newCluster(t)
	c.bridge(nil)
	const node, level = "queued", "multinic-nodes"
	c.node(node)
	as := c.joined(node, v1.DoorKubelet)
	c.kubectl("apply", "--server-side", "-f", bed.Path(t, "deploy/apf.yaml"))
	defer c.kubectl("delete", "-f", bed.Path(t, "deploy/apf.yaml"))
	schema, priority := &flowcontrolv1.FlowSchema{}, &flowcontrolv1.PriorityLevelConfiguration{}
	for _, o := range []client.Object{schema, priority} {
		if err := c.admin.Get(t.Context(), client.ObjectKey{Name: level}, o); err != nil {
			t.Fatal(err)
		}
	}
	taken := func(token, path string) string {
		client, err := rest.HTTPClientFor(c.bearerConfig(token))
		if err != nil {
			t.Fatal(err)
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			t.Fatal(err)
		}
		return answer.Header.Get("X-Kubernetes-PF-FlowSchema-UID") + " " + answer.Header.Get("X-Kubernetes-PF-PriorityLevel-UID")
	}
	want := string(schema.UID) + " " + string(priority.UID)
	for _, path := range []string{
		"/apis/multinic.io/v1/namespaces/" + v1.SystemNamespace + "/multinicnodeconfigs/" + node,
		"/api/v1/namespaces/" + v1.NodesNamespace + "/configmaps/" + v1.ReportName(node),
		"/apis/coordination.k8s.io/v1/namespaces/" + v1.NodesNamespace + "/leases/" + v1.LeaseName("another"), // no right to it
		"/api/v1/nodes", "/version",
	} {
		c.eventually(path+" is taken by it", func() string {
			if by := taken(c.tokens[as], path); by != want {
				return by
			}
			return ""
		})
	}
	bridge := c.kubectl("create", "token", v1.BridgeAccount, "-n", v1.SystemNamespace)
	if by := taken(bridge, "/version"); by == want || strings.TrimSpace(by) == "" {
		t.Errorf("the bridge is taken by %q", by)
	}
	// The schema comes before its level, and dangles until the API server has looked again.
	c.eventually("its level is found", func() string {
		if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(schema), schema); err != nil {
			return err.Error()
		}
		for _, o := range schema.Status.Conditions {
			if o.Type == flowcontrolv1.FlowSchemaConditionDangling && o.Status == flowcontrolv1.ConditionFalse {
				return ""
			}
		}
		return fmt.Sprintf("conditions %+v", schema.Status.Conditions)
	})
}
