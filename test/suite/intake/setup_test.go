// Package intake proves the HTTP door for publishers against a real API server: the real program, with the rights of its manifest and no others, is sent
// what publishers send.
//
// In go requests as the client in the field makes them, and others; out come answers and objects, which are read at the API server. No host is booted:
// test/suite/e2e has the way from a request to a NIC.
//
// The tests share one control plane. Each has nodes, and mostly a door, of its own.
//
// Start reading at TestTheFieldsClientIsServed and the table in table_test.go.
package intake

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge"
	"multinicd/test/bed"
	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/product"
	"multinicd/test/bed/sandbox"
)

func TestMain(m *testing.M) {
	bridge.LogLibraries(slog.New(slog.DiscardHandler))
	os.Exit(bed.Main(m))
}

// The providers of most tests: viola may publish for both.
const (
	providerA, providerB = "provider-a", "provider-b"
	viola, neighbour     = "viola", "neighbour"
)

type cluster struct {
	*controlplane.Cluster
	t     *testing.T
	box   *sandbox.Sandbox
	admin client.Client
}

// installed: the first test that gets the shared control plane fills it.
var installed struct {
	sync.Once
	err error
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{Cluster: bed.New(t).Cluster(), t: t}
	installed.Do(func() { installed.err = install(t.Context(), c.Cluster) })
	if installed.err != nil {
		t.Fatal(installed.err)
	}
	var err error
	if c.admin, err = product.Client(c.Config()); err != nil {
		t.Fatal(err)
	}
	if c.box, err = sandbox.New(context.WithoutCancel(t.Context()), t.Logf); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.box.Close(); err != nil {
			t.Errorf("cleaning up: %v", err)
		}
	})
	return c
}

// publishers have the right that the chart gives with intake.publishers.
const publishers = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: NAME, namespace: multinic-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: NAME, namespace: multinic-system}
rules:
- {apiGroups: [multinic.io], resources: [providers], resourceNames: PROVIDERS, verbs: [publish]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: NAME, namespace: multinic-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: NAME}
subjects:
- {kind: ServiceAccount, name: NAME, namespace: multinic-system}
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: "multinic-publisher:NAME"}
`

func install(ctx context.Context, c *controlplane.Cluster) error {
	if err := product.Install(ctx, c); err != nil {
		return err
	}
	if err := product.InstallIntake(ctx, c); err != nil {
		return err
	}
	for name, providers := range map[string]string{viola: "[provider-a, provider-b, provider-killed, provider-stopped, provider-cut]", neighbour: "[provider-c]"} {
		text := strings.NewReplacer("NAME", name, "PROVIDERS", providers).Replace(publishers)
		if out, err := c.Apply(ctx, text); err != nil {
			return fmt.Errorf("making the publisher %s: %w\n%s", name, err, out)
		}
	}
	return nil
}

// door is a running door, and how it is called.
type door struct {
	*product.Intake
	c   *cluster
	url string
	// client is the one of a publisher: it makes a connection each time, and does not look at the certificate.
	client func(*http.Request) (*http.Response, error)
}

// door opens a door without TLS until the test ends.
func (c *cluster) door(flags ...string) *door {
	c.t.Helper()
	return c.doorWith("http", nil, append([]string{"--plain-http"}, flags...)...)
}

func (c *cluster) doorWith(scheme string, certificates []tls.Certificate, flags ...string) *door {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), bed.Patience)
	defer cancel()
	in, err := product.StartIntake(ctx, c.box, c.Cluster, bed.Build(c.t, "./cmd/bridge"), append([]string{"--rate", "1000", "--burst", "1000"}, flags...)...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		in.Stop()
		if c.t.Failed() {
			log := in.Log()
			c.t.Logf("the door said, at the end:\n%s", log[max(0, len(log)-4000):])
		}
	})
	return &door{Intake: in, c: c, url: scheme + "://" + in.Address, client: func(r *http.Request) (*http.Response, error) {
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: certificates}, DisableKeepAlives: true}
		redirected := func(*http.Request, []*http.Request) error {
			return errors.New("the door sends the client elsewhere: a POST would become a GET")
		}
		return (&http.Client{Transport: transport, CheckRedirect: redirected}).Do(r)
	}}
}

// token is one of a publisher for the door, or for other audiences.
func (c *cluster) token(account string, audiences ...string) string {
	c.t.Helper()
	if audiences == nil {
		audiences = []string{v1.IntakeAudience}
	}
	token, err := product.Token(c.t.Context(), c.Cluster, v1.SystemNamespace, account, audiences...)
	if err != nil {
		c.t.Fatal(err)
	}
	return token
}

// node and port are what the client in the field sends, with its field names in their order (pkg/viola/client.go of 2026-01).
type node struct {
	NodeName   string `json:"nodeName,omitempty"`
	InstanceID string `json:"instanceId,omitempty"`
	Interfaces []port `json:"interfaces,omitempty"`
}

type port struct {
	ID         int    `json:"id,omitempty"` // 0 is left out
	PortID     string `json:"portId,omitempty"`
	Name       string `json:"name,omitempty"`
	MACAddress string `json:"macAddress"`
	Address    string `json:"address,omitempty"`
	CIDR       string `json:"cidr,omitempty"`
	MTU        int    `json:"mtu,omitempty"`
	DeviceID   string `json:"deviceId,omitempty"`
	NetworkID  string `json:"networkId,omitempty"`
	SubnetID   string `json:"subnetId,omitempty"`
	DeviceName string `json:"deviceName,omitempty"`
}

// ports are n ports of the node with a number, named by their place, as the client does after it has sorted them by MAC.
func ports(of, n int) []port {
	var out []port
	for i := range n {
		out = append(out, port{
			ID: i, PortID: fmt.Sprintf("6a6ee0dd-4c7d-4b7e-9d3e-%06x%06x", of, i), Name: fmt.Sprintf("multinic%d", i),
			MACAddress: fmt.Sprintf("fa:16:3e:%02x:%02x:%02x", of>>8, of&0xff, i), Address: fmt.Sprintf("10.%d.%d.10", 100+i, of&0xff), CIDR: fmt.Sprintf("10.%d.%d.0/24", 100+i, of&0xff), MTU: 1450,
			DeviceID: "device", NetworkID: "network", SubnetID: "subnet",
		})
	}
	return out
}

// request is one as the client in the field makes it: its base ends with a slash, and the path begins with one.
func (d *door) request(token, provider string, body any) *http.Request {
	d.c.t.Helper()
	data, ok := body.([]byte)
	if !ok {
		var err error
		if data, err = json.Marshal(body); err != nil {
			d.c.t.Fatal(err)
		}
	}
	r, err := http.NewRequestWithContext(d.c.t.Context(), http.MethodPost, d.url+"//v1/k8s/multinic/node-configs", bytes.NewReader(data))
	if err != nil {
		d.c.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Provider-Id", provider)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

// answer is what the door says.
type answer struct {
	Status  int `json:"-"`
	Applied int
	Results []struct {
		NodeName, Object, Status, ResourceVersion string
		Generation                                int64
		Kept, Diff                                []string
	}
	Errors []struct{ NodeName, Object, Code, Message string }
}

// brief is an answer in one line: 200 created:a unchanged:b Invalid:c.
func (a answer) brief() string {
	words := []string{fmt.Sprint(a.Status)}
	for _, r := range a.Results {
		words = append(words, r.Status+":"+r.Object)
	}
	for _, e := range a.Errors {
		words = append(words, e.Code+":"+e.NodeName)
	}
	return strings.Join(words, " ")
}

// try sends a request, and gives what is said, or the error of the connection.
func (d *door) try(r *http.Request) (answer, error) {
	response, err := d.client(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{Status: response.StatusCode}
	if err := json.Unmarshal(body, &a); err != nil {
		return a, fmt.Errorf("reading the answer %d %.200s: %w", response.StatusCode, body, err)
	}
	return a, nil
}

// send is try for a request that has to be answered.
func (d *door) send(r *http.Request) answer {
	d.c.t.Helper()
	a, err := d.try(r)
	if err != nil {
		d.c.t.Fatal(err)
	}
	return a
}

// publish sends nodes of provider A as viola.
func (d *door) publish(nodes ...node) answer {
	d.c.t.Helper()
	return d.send(d.request(d.c.token(viola), providerA, nodes))
}

// says compares an answer in brief.
func (a answer) says(t *testing.T, want string) {
	t.Helper()
	if got := a.brief(); got != want {
		t.Errorf("the answer is %.600s, want %s\n%v", got, want, a.Errors)
	}
}

// object reads one; it has to be there.
func (c *cluster) object(name string) *v1.MultiNicNodeConfig {
	c.t.Helper()
	o := &v1.MultiNicNodeConfig{}
	if err := c.admin.Get(c.t.Context(), client.ObjectKey{Namespace: v1.SystemNamespace, Name: name}, o); err != nil {
		c.t.Fatal(err)
	}
	return o
}

// nics are those of an object in brief: multinic0=fa:16:3e:00:01:00.
func nics(o *v1.MultiNicNodeConfig) string {
	normals, _ := o.Validate()
	var out []string
	for _, n := range normals {
		out = append(out, n.Name+"="+n.MACAddress)
	}
	return strings.Join(out, " ")
}

// machine makes a Node of an instance, and waits until a door knows it by its answer to a dry run.
func (c *cluster) machine(name, instance string) {
	c.t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{ProviderID: "openstack:///" + instance}}
	if err := c.admin.Create(c.t.Context(), n); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if err := client.IgnoreNotFound(c.admin.Delete(context.WithoutCancel(c.t.Context()), n)); err != nil {
			c.t.Error(err)
		}
	})
}

// elapsed is since begun, for the log of a test.
func elapsed(begun time.Time) string { return time.Since(begun).Round(10 * time.Millisecond).String() }
