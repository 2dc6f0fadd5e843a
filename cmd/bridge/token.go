package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/examples"
)

const (
	// minTTL is the shortest life of a token that the API server accepts.
	minTTL = 10 * time.Minute
	// maxTTL is the longest life of a join token: it lies in files and in user data until it is used.
	maxTTL = 7 * 24 * time.Hour
)

// errUsage is wrapped by the errors of a wrong command line. They end with exit code 2.
var errUsage = errors.New("wrong command line")

func tokenCommand() *cli.Command {
	node := &cli.StringFlag{Name: "node", Usage: "`NAME` of the node, which is that of its object, as the argument is"}
	kubeconfig := &cli.StringFlag{
		Name: "kubeconfig", Usage: "`FILE` with an administrator's access; absent: $KUBECONFIG, then ~/.kube/config",
	}
	return &cli.Command{
		Name:  "token",
		Usage: "let machines without a kubelet join, and put them out again",
		Description: "Run it with an administrator's kubeconfig. A machine that runs a kubelet needs none of this:\n" +
			"there, multinicd join --kubelet does.",
		Subcommands: []*cli.Command{
			{
				Name: "create", ArgsUsage: "NAME",
				Usage: "make a join token for one node, good for one join",
				Description: "Prints the command to run on the machine. With --output-file the join file (token and CA) is\n" +
					"written there, mode 0600, and the token is printed nowhere. Without it user data for cloud-init is\n" +
					"printed, WHICH CONTAINS THE TOKEN. With --template the user data is made of that file, such as\n" +
					"examples/cloud-init/apt-token.yaml; together with --output-file it is written there, mode 0600.\n" +
					"A second token for the same node ends the first.",
				Action: withNames(createToken),
				Flags: []cli.Flag{
					node, kubeconfig,
					&cli.DurationFlag{Name: "ttl", Value: 24 * time.Hour, Usage: "how long the token is good for, 10m to 168h"},
					&cli.BoolFlag{Name: "replace", Usage: "let it take the place of a machine that has joined under this name"},
					&cli.StringFlag{Name: "server", Usage: "`URL` by which the machine reaches the API server; absent: the kubeconfig's"},
					&cli.StringFlag{Name: "output-file", Aliases: []string{"o"}, Usage: "write the join file, or with --template the user data, to `FILE`, mode 0600"},
					&cli.StringFlag{Name: "template", Usage: "make user data for cloud-init of `FILE`, in which @NODE@, @SERVER@, @CA_HASH@, @EXPIRES@ and a line @JOIN_FILE@ are filled in"},
				},
			},
			{
				Name:   "list",
				Usage:  "list join tokens and the nodes' credentials; prints no token",
				Action: listTokens,
				Flags: []cli.Flag{kubeconfig,
					&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "table", Usage: "`FORMAT`: table, json or yaml"}},
				Description: "CREDENTIAL is when the node's identity was made, LEASE when the node last renewed its Lease. A node that has\n" +
					"lost its object, and has no Node, keeps its line until the bridge forgets it, within 24 hours (docs/security.md).",
			},
			{
				Name: "revoke", ArgsUsage: "NAME",
				Usage: "end every token of a node, and its join token",
				Description: "The API server refuses them within seconds. While the node is expected (there is a Node or an\n" +
					"object) the bridge makes it a new identity, by which the old tokens are worth nothing. A machine\n" +
					"WITH A KUBELET THEN JOINS AGAIN BY ITSELF, within half a minute, unless --block is given; one\n" +
					"without joins by a token made with create --replace.",
				Action: withNames(revokeToken),
				Flags: []cli.Flag{node, kubeconfig,
					&cli.BoolFlag{Name: "block", Usage: "let no machine join under this name, by any door, until token unblock"}},
			},
			{
				Name: "unblock", ArgsUsage: "NAME",
				Usage: "let machines join again under the name of a node that revoke --block has put out",
				Description: "token list shows which nodes are blocked. A machine with a kubelet joins by itself then, within\n" +
					"ten minutes.",
				Action: withNames(unblockNode),
				Flags:  []cli.Flag{node, kubeconfig},
			},
		},
	}
}

// oneNode is the node that a command is for: an argument, or --node.
func oneNode(c *cli.Context, names []string) (string, error) {
	if node := c.String("node"); node != "" {
		names = append(names, node)
	}
	switch len(names) {
	case 0:
		return "", fmt.Errorf("%w: name the node, as in %s NAME", errUsage, c.Command.HelpName)
	case 1:
		return names[0], checkNode(names[0])
	}
	return "", fmt.Errorf("%w: token %s takes one node, got %s", errUsage, c.Command.Name, strings.Join(names, " and "))
}

// checkNode says what is wrong with a node's name on the command line.
func checkNode(node string) error {
	if len(node) > v1.MaxNodeName || len(validation.IsDNS1123Subdomain(node)) > 0 {
		return fmt.Errorf("%w: %q is no node name: lower case letters, digits, '-' and '.', at most %d", errUsage, node, v1.MaxNodeName)
	}
	return nil
}

func createToken(c *cli.Context, names []string) error {
	node, err := oneNode(c, names)
	if err != nil {
		return err
	}
	ttl := c.Duration("ttl")
	switch {
	case ttl < minTTL:
		return fmt.Errorf("%w: --ttl %s is too short: the API server gives no token for less than %s", errUsage, ttl, minTTL)
	case ttl > maxTTL:
		return fmt.Errorf("%w: --ttl %s is too long: who finds a join token that nobody has used joins by it; at most %s", errUsage, ttl, maxTTL)
	}
	template, err := readTemplate(c.String("template"))
	if err != nil {
		return err
	}
	a, err := newAdmin(c.String("kubeconfig"))
	if err != nil {
		return err
	}
	server := c.String("server")
	if server == "" {
		server = a.server
	}
	if err := checkServer(server); err != nil {
		return err
	}
	ca, err := a.certificates(c.Context)
	if err != nil {
		return err
	}
	file := v1.JoinFile{CA: ca}
	hash, err := file.CAHash()
	if err != nil {
		return fmt.Errorf("reading the cluster's CA: %w", err)
	}
	if err := a.joinable(c.Context, node, c.Bool("replace")); err != nil {
		return err
	}
	expires, err := a.makeJoin(c.Context, node, ttl, c.Bool("replace"), &file)
	if err != nil {
		return err
	}
	if !a.welcome(c.Context, node) {
		fmt.Fprintln(c.App.ErrWriter, "The bridge has not taken note of the token yet. Until it has the machine is refused (Forbidden): is it running, and does its log say that the admission policies are in force?")
	}
	join := examples.Join{Node: node, Server: server, CAHash: hash, File: file.Encode(), Expires: expires}
	if err := printJoin(c, template, join); err != nil {
		_, failed := a.dropJoin(context.WithoutCancel(c.Context), node)
		return errors.Join(err, failed)
	}
	return nil
}

// welcome waits a moment until the bridge has given the token its right.
func (a *admin) welcome(ctx context.Context, node string) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		var right rbacv1.RoleBinding
		if a.client.Get(ctx, client.ObjectKey{Namespace: v1.NodesNamespace, Name: v1.JoinAccountName(node)}, &right) == nil {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// joinable refuses early what the bridge would later refuse to the machine.
func (a *admin) joinable(ctx context.Context, node string, replace bool) error {
	var lease coordinationv1.Lease
	err := a.client.Get(ctx, client.ObjectKey{Namespace: v1.NodesNamespace, Name: v1.LeaseName(node)}, &lease)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading the Lease of %s: %w", node, err)
	}
	if blocked, err := a.blocked(ctx); err != nil {
		return err
	} else if since, is := blocked[node]; is {
		return fmt.Errorf("node %s is blocked since %s, and the bridge would refuse it: %s token unblock --node %s", node, v1.Printable(since, 64), program, node)
	}
	if lease.Spec.RenewTime != nil && !replace {
		return fmt.Errorf("a machine has joined as %s already, and renewed its Lease last at %s: with --replace the new one takes its place, and it loses its identity",
			node, lease.Spec.RenewTime.UTC().Format(time.RFC3339))
	}
	return nil
}

// makeJoin makes the join token of a node, ends an older one, and puts the token into the file. If
// it fails, it leaves no token behind.
func (a *admin) makeJoin(ctx context.Context, node string, ttl time.Duration, replace bool, file *v1.JoinFile) (expires time.Time, err error) {
	if _, err := a.dropJoin(ctx, node); err != nil {
		return expires, err
	}
	defer func() {
		if err != nil {
			_, failed := a.dropJoin(context.WithoutCancel(ctx), node)
			err = errors.Join(err, failed)
		}
	}()
	name := v1.JoinAccountName(node)
	meta := metav1.ObjectMeta{
		Namespace: v1.NodesNamespace, Name: name,
		Labels: map[string]string{v1.ComponentLabel: v1.ComponentJoin},
		Annotations: map[string]string{
			v1.NodeNameAnnotation: node,
			v1.ExpiresAnnotation:  time.Now().Add(ttl).UTC().Format(time.RFC3339),
		},
	}
	if replace {
		meta.Annotations[v1.ReplaceAnnotation] = "true"
	}
	account := &corev1.ServiceAccount{ObjectMeta: meta, AutomountServiceAccountToken: new(false)}
	if err := a.client.Create(ctx, account); err != nil {
		return expires, fmt.Errorf("making ServiceAccount %s: %w", name, err)
	}
	// The Secret is deleted with the account, if nobody deletes it before.
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: v1.NodesNamespace, Name: name, Labels: meta.Labels,
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ServiceAccount", Name: name, UID: account.UID}},
	}}
	if err := a.client.Create(ctx, secret); err != nil {
		return expires, fmt.Errorf("making Secret %s: %w", name, err)
	}
	token := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: new(int64(ttl.Seconds())),
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: name, UID: secret.UID},
	}}
	if err := a.client.SubResource("token").Create(ctx, account, token); err != nil {
		return expires, fmt.Errorf("asking for a token of %s: %w", name, err)
	}
	file.Token = token.Status.Token
	return token.Status.ExpirationTimestamp.Time, nil
}

// dropJoin ends a node's join token, and then the request that was made with it. It says whether
// there was a token.
func (a *admin) dropJoin(ctx context.Context, node string) (bool, error) {
	found, err := a.drop(ctx, v1.JoinAccountName(node))
	if err != nil {
		return found, err
	}
	var request v1.NodeTokenRequest
	err = a.client.Get(ctx, client.ObjectKey{Namespace: v1.NodesNamespace, Name: node}, &request)
	if err == nil && request.Spec.Door == v1.DoorJoinToken {
		err = a.client.Delete(ctx, &request)
	}
	if client.IgnoreNotFound(err) != nil {
		return found, fmt.Errorf("removing the request of %s: %w", node, err)
	}
	return found, nil
}

// drop deletes a Secret and the ServiceAccount of the same name. It says whether either was there.
func (a *admin) drop(ctx context.Context, name string) (bool, error) {
	meta := metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: name}
	found := false
	for kind, o := range map[string]client.Object{"Secret": &corev1.Secret{ObjectMeta: meta}, "ServiceAccount": &corev1.ServiceAccount{ObjectMeta: meta}} {
		switch err := a.client.Delete(ctx, o); {
		case err == nil:
			found = true
		case !apierrors.IsNotFound(err):
			return found, fmt.Errorf("deleting %s %s: %w", kind, name, err)
		}
	}
	return found, nil
}

func revokeToken(c *cli.Context, names []string) error {
	node, err := oneNode(c, names)
	if err != nil {
		return err
	}
	a, err := newAdmin(c.String("kubeconfig"))
	if err != nil {
		return err
	}
	// The way in goes first. The bridge makes a new identity as soon as the old one is gone, and a
	// join token or a kubelet that is left could get a token of it.
	blocked := c.Bool("block")
	if blocked {
		if err := a.block(c.Context, node, time.Now()); err != nil {
			return err
		}
	}
	invited, err := a.dropJoin(c.Context, node)
	if err != nil {
		return err
	}
	joined, err := a.drop(c.Context, v1.ServiceAccountName(node))
	if err != nil {
		return err
	}
	if !joined && !invited && !blocked {
		return fmt.Errorf("nothing to revoke: there is neither a credential nor a join token of node %s", node)
	}
	if joined {
		fmt.Fprintf(c.App.Writer, "revoked every token of node %s; the API server refuses them within seconds\n", node)
	}
	if invited {
		fmt.Fprintf(c.App.Writer, "revoked the join token of node %s\n", node)
	}
	if blocked {
		fmt.Fprintf(c.App.Writer, "blocked node %s: no machine joins under this name until %s token unblock --node %s\n", node, program, node)
	}
	return nil
}
