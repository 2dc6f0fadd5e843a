// Package product puts the product into a test cluster and on test hosts, by the manifests that a user gets.
//
// In go a running control plane, a sandbox and hosts; out come an installed API, a running bridge with its own rights and no others,
// and hosts that hold their node's credential.
//
// It must not give anybody more rights than the manifests do: what fails for want of a right must fail in a test.
//
// Start reading at Install.
package product

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge"
	"multinicd/test/bed/artifact"
	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/sandbox"
	"multinicd/test/bed/testhost"
)

// Install applies the CRDs, the bridge's manifest and the admission policies, and waits until the API is served.
func Install(ctx context.Context, c *controlplane.Cluster) error {
	root, err := artifact.RepositoryRoot()
	if err != nil {
		return err
	}
	for _, name := range []string{"deploy/crds.yaml", "deploy/bridge.yaml", "deploy/admission.yaml"} {
		if out, err := c.Kubectl(ctx, "apply", "--server-side", "-f", filepath.Join(root, name)); err != nil {
			return fmt.Errorf("installing %s: %w\n%s", name, err, out)
		}
	}
	return c.Served(ctx, "multinicnodeconfigs.multinic.io", "multinicbizconfigs.multinic.io", "nodetokenrequests.multinic.io", "multinicnoderuns.multinic.io")
}

// Bridge is a running multinic-bridge: a process for each of its duties.
type Bridge []*process

// process is a command of multinic-bridge that runs.
type process struct {
	logFile string
	cmd     *exec.Cmd
	exited  chan struct{}
}

// StartBridge runs the bridge as the ServiceAccounts of its manifest. It ends with the sandbox, or by Stop or Kill.
func StartBridge(ctx context.Context, box *sandbox.Sandbox, c *controlplane.Cluster, binary string) (Bridge, error) {
	var b Bridge
	for _, duty := range duties {
		p, err := StartDuty(ctx, box, c, binary, duty, "--health-address", "0", "--metrics-address", "0")
		if err != nil {
			return nil, err
		}
		b = append(b, p...)
	}
	return b, nil
}

// StartDuty runs one duty of the bridge, with more arguments.
func StartDuty(ctx context.Context, box *sandbox.Sandbox, c *controlplane.Cluster, binary string, duty bridge.Duty, args ...string) (Bridge, error) {
	p, err := startAs(ctx, box, c, duty.Account(), binary, append([]string{"run", "--duty", string(duty)}, args...)...)
	if err != nil {
		return nil, err
	}
	return Bridge{p}, nil
}

var duties = []bridge.Duty{bridge.Status, bridge.Credentials}

// RunBridge runs the bridge in this process until ctx ends, as the users of its ServiceAccounts: as gives the way to the API server of one.
func RunBridge(ctx context.Context, as func(account string) *rest.Config, o bridge.Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, len(duties))
	for _, duty := range duties {
		cfg, own := as(duty.Account()), o
		own.Duty = duty
		go func() {
			defer cancel() // neither goes on alone
			ended <- bridge.Run(ctx, cfg, own)
		}()
	}
	var all error
	for range duties {
		all = errors.Join(all, <-ended)
	}
	return all
}

// startAs runs a command of multinic-bridge as a ServiceAccount of multinic-system.
func startAs(ctx context.Context, box *sandbox.Sandbox, c *controlplane.Cluster, account, binary string, args ...string) (*process, error) {
	token, err := Token(ctx, c, "multinic-system", account)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(box.Dir, account+"-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for %s: %w", account, err)
	}
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(kubeconfig, tokenKubeconfig(c, dir, token), 0o600); err != nil {
		return nil, fmt.Errorf("writing the kubeconfig of %s: %w", account, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), c.CA, 0o600); err != nil {
		return nil, fmt.Errorf("writing the CA for %s: %w", account, err)
	}
	p := &process{logFile: filepath.Join(dir, "log"), exited: make(chan struct{})}
	log, err := os.Create(p.logFile)
	if err != nil {
		return nil, fmt.Errorf("making the log of %s: %w", account, err)
	}
	defer log.Close()
	p.cmd = exec.Command(binary, append(args, "--kubeconfig", kubeconfig)...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := box.Start(account, p.cmd); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in the log
		close(p.exited)
	}()
	return p, nil
}

// Log is all that the process has said.
func (p *process) Log() string {
	out, err := os.ReadFile(p.logFile)
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// Stop ends the process in good order, Kill does not; both wait.
func (p *process) Stop() { p.end(syscall.SIGTERM) }

// Kill is Stop without notice.
func (p *process) Kill() { p.end(syscall.SIGKILL) }

func (p *process) end(s syscall.Signal) {
	_ = p.cmd.Process.Signal(s) // it may have ended already
	<-p.exited
}

// Log is all that the bridge has said, of one duty after the other.
func (b Bridge) Log() string {
	var all strings.Builder
	for _, p := range b {
		all.WriteString(p.Log())
	}
	return all.String()
}

// PIDs are the bridge's process ids.
func (b Bridge) PIDs() (all []int) {
	for _, p := range b {
		all = append(all, p.cmd.Process.Pid)
	}
	return all
}

// Stop ends the bridge in good order, Kill does not; both wait.
func (b Bridge) Stop() { b.end(syscall.SIGTERM) }

// Kill is Stop without notice.
func (b Bridge) Kill() { b.end(syscall.SIGKILL) }

func (b Bridge) end(s syscall.Signal) {
	for _, p := range b {
		p.end(s)
	}
}

func tokenKubeconfig(c *controlplane.Cluster, dir, token string) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: u, user: {token: %q}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`, c.URL, filepath.Join(dir, "ca.crt"), token)
}

// Token asks for a token of a ServiceAccount, good for some hours. Without audiences it is for the API server.
func Token(ctx context.Context, c *controlplane.Cluster, namespace, account string, audiences ...string) (string, error) {
	lifetime := int64((8 * time.Hour).Seconds())
	request := authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &lifetime, Audiences: audiences}}
	if err := c.Post(ctx, "/api/v1/namespaces/"+namespace+"/serviceaccounts/"+account+"/token", &request); err != nil {
		return "", fmt.Errorf("asking for a token of %s: %w", account, err)
	}
	return request.Status.Token, nil
}

// identityTimeout ends a test whose bridge hangs. On an idle machine an identity is there within a second.
const identityTimeout = 2 * time.Minute

// Expect makes a Node, and waits until the bridge, which has to run, has given it an identity.
func Expect(ctx context.Context, c *controlplane.Cluster, node string) error {
	object := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}
	if err := c.Post(ctx, "/api/v1/nodes", &object); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making Node %s: %w", node, err)
	}
	ctx, cancel := context.WithTimeout(ctx, identityTimeout)
	defer cancel()
	for {
		var last rbacv1.RoleBinding // that the bridge makes
		err := c.Get(ctx, "/apis/rbac.authorization.k8s.io/v1/namespaces/multinic-system/rolebindings/multinic-node-"+node, &last)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the identity of %s: %w: %w", node, ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Admit expects a node, and gives a token of its identity: the node joins without a join. The token is what the bridge would ask for, since
// nobody else may: it is bound to the Node, and good for an hour.
func Admit(ctx context.Context, c *controlplane.Cluster, node string) (string, error) {
	return AdmitAs(ctx, c, v1.CredentialsAccount, node)
}

// AdmitAs is Admit with a bridge of another release, whose account may ask for tokens.
func AdmitAs(ctx context.Context, c *controlplane.Cluster, account, node string) (string, error) {
	if err := Expect(ctx, c, node); err != nil {
		return "", err
	}
	cfg := c.Config()
	cfg.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:multinic-system:" + account}
	as, err := Client(cfg)
	if err != nil {
		return "", err
	}
	identity := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "multinic-nodes", Name: "multinic-node-" + node}}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Node", Name: node},
	}}
	if err := as.SubResource("token").Create(ctx, identity, request); err != nil {
		return "", fmt.Errorf("asking for a token of %s: %w", identity.Name, err)
	}
	return request.Status.Token, nil
}

// Join puts the credential of a node into a host, where the daemon looks for it. server is the API server's URL as the host sees it.
func Join(ctx context.Context, c *controlplane.Cluster, h *testhost.Host, node, server string) error {
	token, err := Admit(ctx, c, node)
	if err != nil {
		return err
	}
	for name, data := range map[string]string{"server": server + "\n", "ca.crt": string(c.CA), "token": token + "\n"} {
		if err := h.WriteFile("/var/lib/multinicd/credential/"+name, []byte(data), 0o600); err != nil {
			return err
		}
	}
	return nil
}
