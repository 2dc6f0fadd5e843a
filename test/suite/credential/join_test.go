package credential

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	v1 "multinicd/api/v1"
	"multinicd/test/bed"
)

func TestAKubeletGetsItsNodeAToken(t *testing.T) {
	c := newCluster(t)
	c.bridge(nil)
	const node = "by-kubelet"
	c.node(node)
	o := c.object(node)
	kubelet, key := c.kubelet(node), newKey(t)
	r := c.ask(kubelet, node, v1.DoorKubelet, key)
	as := c.bearer(open(t, key, r))

	got := &v1.MultiNicNodeConfig{ObjectMeta: o.ObjectMeta}
	if err := as.Get(t.Context(), client.ObjectKeyFromObject(got), got); err != nil {
		t.Errorf("the node reads its object: %v", err)
	}
	if err := renew(t.Context(), as, node, r.UID); err != nil {
		t.Errorf("the node renews its Lease: %v", err)
	}
	c.gone(r)
	c.event(v1.NodesNamespace, node, "NodeJoined", "system:node:"+node)
	c.event(v1.SystemNamespace, node, "TokenSealed", "system:node:"+node)

	// It renews the token by itself, bound to its Node.
	next, err := renewToken(t, as, node, "Node", node)
	if err != nil {
		t.Fatalf("the node renews its token: %v", err)
	}
	if err := c.bearer(next).Get(t.Context(), client.ObjectKeyFromObject(got), got); err != nil {
		t.Errorf("the renewed token reads the object: %v", err)
	}

	// The same machine, later: no --replace is asked of a kubelet. But not with
	// the key of before.
	r = c.ask(kubelet, node, v1.DoorKubelet, key)
	if r.Status.Reason != v1.ReasonKeyReplayed {
		t.Errorf("a replayed key is answered with %q, sealed: %v", r.Status.Reason, r.Status.SealedAt)
	}
	c.event(v1.NodesNamespace, node, v1.ReasonKeyReplayed, "system:node:"+node)
	c.delete(r)
	key = newKey(t)
	open(t, key, c.ask(kubelet, node, v1.DoorKubelet, key))
}

func renewToken(t *testing.T, as client.Client, node, boundKind, boundName string) (string, error) {
	t.Helper()
	own := &corev1.ServiceAccount{ObjectMeta: inNodes(v1.ServiceAccountName(node))}
	r := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: boundKind, Name: boundName},
	}}
	err := as.SubResource("token").Create(t.Context(), own, r)
	return r.Status.Token, err
}

// command runs multinic-bridge as an administrator.
func (c *cluster) command(args ...string) (stdout, stderr string, err error) {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), bed.Build(c.t, "./cmd/bridge"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

func (c *cluster) must(args ...string) string {
	c.t.Helper()
	out, errs, err := c.command(args...)
	if err != nil {
		c.t.Fatalf("multinic-bridge %s: %v\n%s", strings.Join(args, " "), err, errs)
	}
	return out
}

// invite makes a join token by the command and gives it.
func (c *cluster) invite(node string, more ...string) string {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), "join")
	out := c.must(append([]string{"token", "create", "--node", node, "--output-file", path}, more...)...)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		c.t.Fatalf("the join file has mode %v: %v", info.Mode(), err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		c.t.Fatal(err)
	}
	file, err := v1.ParseJoinFile(data)
	if err != nil {
		c.t.Fatal(err)
	}
	secret = append(secret, file.Token)
	hash := regexp.MustCompile(`--ca-hash (sha256:[0-9a-f]{64})`).FindStringSubmatch(out)
	if hash == nil || file.CheckHash(hash[1]) != nil || !strings.Contains(out, "--server "+c.URL) {
		c.t.Errorf("the line to run does not fit the file: %s", out)
	}
	if strings.Contains(out, file.Token) {
		c.t.Error("the token is printed, although it was written to a file")
	}
	return file.Token
}

func TestAJoinTokenIsGoodForOneJoin(t *testing.T) {
	c := newCluster(t)
	c.bridge(nil)
	const node = "by-token"
	c.object(node)
	join, key := c.bearer(c.invite(node)), newKey(t)
	r := c.ask(join, node, v1.DoorJoinToken, key)
	as := c.bearer(open(t, key, r))

	// Another machine that has the same token comes too late: the name is taken,
	// and what is sealed there it cannot open.
	err := join.Create(t.Context(), &v1.NodeTokenRequest{ObjectMeta: inNodes(node),
		Spec: v1.NodeTokenRequestSpec{Door: v1.DoorJoinToken, PublicKey: newKey(t).Public()}})
	if !apierrors.IsAlreadyExists(err) {
		t.Errorf("a second machine asks at the same time: %v", err)
	}
	if _, err := newKey(t).Open(r.Status.SealedToken, node, r.UID); err == nil {
		t.Error("another key opens the token")
	}
	if list := c.must("token", "list"); !regexp.MustCompile(node + ` +used \(JoinToken\)`).MatchString(list) {
		t.Errorf("the token is used; list says\n%s", list)
	}

	if err := renew(t.Context(), as, node, r.UID); err != nil {
		t.Fatal(err)
	}
	c.gone(r)
	c.gone(&corev1.ServiceAccount{ObjectMeta: inNodes(v1.JoinAccountName(node))})
	c.gone(&corev1.Secret{ObjectMeta: inNodes(v1.JoinAccountName(node))})
	c.event(v1.NodesNamespace, node, "NodeJoined", v1.JoinAccountName(node))
	c.refused(join, "the join token is used up")
	if _, err := renewToken(t, as, node, "Secret", v1.ServiceAccountName(node)); err != nil {
		t.Errorf("a node without a Node renews its token, bound to its Secret: %v", err)
	}
	if _, err := renewToken(t, as, node, "Node", "another"); !refusedBy(err, "is bound to its Node") {
		t.Errorf("it binds a token to another's Node: %v", err)
	}

	// Who has joined is not replaced by accident.
	if _, errs, err := c.command("token", "create", "--node", node); err == nil || !strings.Contains(errs, "--replace") {
		t.Errorf("a second join token without --replace: %v %s", err, errs)
	}
	// Nor by a token that somebody made around the command.
	join = c.bearer(c.invite(node, "--replace"))
	c.kubectl("annotate", "serviceaccount", "-n", v1.NodesNamespace, v1.JoinAccountName(node), v1.ReplaceAnnotation+"-")
	key = newKey(t)
	r = c.ask(join, node, v1.DoorJoinToken, key)
	if r.Status.Reason != v1.ReasonNodeAlreadyJoined {
		t.Errorf("it is answered with %q", r.Status.Reason)
	}
	c.event(v1.NodesNamespace, node, v1.ReasonNodeAlreadyJoined, v1.JoinAccountName(node))
	if err := as.Get(t.Context(), client.ObjectKey{Namespace: v1.SystemNamespace, Name: node}, &v1.MultiNicNodeConfig{}); err != nil {
		t.Errorf("the node that has joined: %v", err)
	}

	// With --replace the old machine is out when the new one is in.
	join, key = c.bearer(c.invite(node, "--replace")), newKey(t)
	next := c.bearer(open(t, key, c.ask(join, node, v1.DoorJoinToken, key)))
	if err := next.Get(t.Context(), client.ObjectKey{Namespace: v1.SystemNamespace, Name: node}, &v1.MultiNicNodeConfig{}); err != nil {
		t.Errorf("the new machine: %v", err)
	}
	c.refused(as, "the machine is replaced")
}

func (c *cluster) delete(o client.Object) {
	c.t.Helper()
	if err := c.admin.Delete(c.t.Context(), o); client.IgnoreNotFound(err) != nil {
		c.t.Fatal(err)
	}
}

func TestACloudInitSnippetHoldsTheJoinFile(t *testing.T) {
	c := newCluster(t)
	c.bridge(nil)
	out, errs, err := c.command("token", "create", "--node", "by-cloud-init", "--ttl", "10m", "--server", "https://192.0.2.1:6443")
	if err != nil {
		t.Fatalf("%v\n%s", err, errs)
	}
	defer c.must("token", "revoke", "--node", "by-cloud-init")
	if !strings.Contains(errs, "contains the join token") {
		t.Errorf("nobody is told that it is secret: %s", errs)
	}
	var cloud struct {
		Files []struct{ Path, Permissions, Content string } `json:"write_files"`
		Run   [][]string                                    `json:"runcmd"`
	}
	if err := yaml.Unmarshal([]byte(out), &cloud); err != nil || len(cloud.Files) != 1 || len(cloud.Run) != 3 {
		t.Fatalf("%v\n%s", err, out)
	}
	file, err := v1.ParseJoinFile([]byte(cloud.Files[0].Content))
	if err != nil {
		t.Fatal(err)
	}
	run := strings.Join(cloud.Run[0], " ")
	hash, err := file.CAHash()
	if err != nil {
		t.Fatal(err)
	}
	want := "multinicd join --server https://192.0.2.1:6443 --token-file " + cloud.Files[0].Path + " --ca-hash " + hash + " --timeout 10m"
	if run != want || cloud.Files[0].Permissions != "0600" {
		t.Errorf("it runs %q, mode %s; want %q", run, cloud.Files[0].Permissions, want)
	}
}

func TestTheTokenCommandRefuses(t *testing.T) {
	c := newCluster(t)
	for name, row := range map[string]struct {
		args []string
		code int
		want string
	}{
		"a create without a node":     {[]string{"create"}, 2, "name the node"},
		"a name that is none":         {[]string{"create", "--node", "A_b"}, 2, "no node name"},
		"a life that is too short":    {[]string{"create", "--node", "a", "--ttl", "1m"}, 2, "too short"},
		"a server without https":      {[]string{"create", "--node", "a", "--server", "http://x"}, 2, "https://"},
		"an argument too many":        {[]string{"list", "x"}, 2, "no arguments"},
		"a revoke of what is not":     {[]string{"revoke", "--node", "never-seen"}, 1, "nothing to revoke"},
		"a kubeconfig that is absent": {[]string{"list", "--kubeconfig", "/nonexistent"}, 1, "kubeconfig"},
	} {
		t.Run(name, func(t *testing.T) {
			_, errs, err := c.command(append([]string{"token"}, row.args...)...)
			exit := &exec.ExitError{}
			if !errors.As(err, &exit) || exit.ExitCode() != row.code || !strings.Contains(errs, row.want) {
				t.Errorf("%v, %s; want exit %d and %q", err, errs, row.code, row.want)
			}
		})
	}
}

func TestAJoinTokenOpensNothingElse(t *testing.T) {
	c := newCluster(t)
	at := &clock{}
	c.bridge(at)
	const node, other = "invited", "not-invited"
	c.node(other)
	join := c.bearer(c.invite(node))
	request := func(name string, door v1.Door) error {
		return join.Create(t.Context(), &v1.NodeTokenRequest{ObjectMeta: inNodes(name),
			Spec: v1.NodeTokenRequestSpec{Door: door, PublicKey: newKey(t).Public()}})
	}
	c.eventually("the token has its right", func() string {
		if err := request(other, v1.DoorJoinToken); !refusedBy(err, "whose name it bears") {
			return "a request for another node: " + errorText(err)
		}
		return ""
	})
	if err := request(node, v1.DoorKubelet); !refusedBy(err, "spec.door is Kubelet for a kubelet's identity") {
		t.Errorf("it says that it is a kubelet: %v", err)
	}
	// Not even an administrator speaks for a node.
	err := c.admin.Create(t.Context(), &v1.NodeTokenRequest{ObjectMeta: inNodes(other),
		Spec: v1.NodeTokenRequestSpec{Door: v1.DoorKubelet, PublicKey: newKey(t).Public()}})
	if !refusedBy(err, "whose name it bears") {
		t.Errorf("a request made by hand: %v", err)
	}
	// The end of its Secret is its end.
	c.delete(&corev1.Secret{ObjectMeta: inNodes(v1.JoinAccountName(node))})
	c.refusedNow(join, "its Secret is gone")

	// A second token ends the first.
	first := c.bearer(c.invite(node))
	second := c.bearer(c.invite(node))
	c.refused(first, "there is a newer one")
	// By the bridge's clock a day has passed: who was invited is forgotten.
	at.forward(25 * time.Hour)
	c.wake(v1.JoinAccountName(node))
	c.refused(second, "it has ended")
}
