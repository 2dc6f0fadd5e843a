package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/fleet"
	"multinicd/internal/terminal"
)

// admin is an administrator's way to the API server.
type admin struct {
	client client.Client
	server string // URL
	ca     []byte // PEM; nil where the kubeconfig has none
}

// adminConfig is the way to the API server that a kubeconfig names, or that kubectl would take.
func adminConfig(kubeconfig string) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: kubeContext}).ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		err = errors.New("there is none in $KUBECONFIG or ~/.kube/config, and this is no Pod: name a file with --kubeconfig")
	}
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig: %w", err)
	}
	cfg.UserAgent = "multinic-bridge/" + version
	// The API server itself holds back whom it must. The default of five calls a second would be
	// half an hour for ten thousand nodes.
	cfg.QPS = -1
	return cfg, nil
}

func newAdmin(kubeconfig string) (*admin, error) {
	cfg, err := adminConfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	cfg.Timeout = time.Minute // of one call; nobody watches by this client
	a := &admin{server: cfg.Host, ca: cfg.CAData}
	if a.ca == nil && cfg.CAFile != "" {
		if a.ca, err = os.ReadFile(cfg.CAFile); err != nil {
			return nil, fmt.Errorf("reading the kubeconfig's CA: %w", err)
		}
	}
	scheme, err := adminScheme()
	if err != nil {
		return nil, err
	}
	if a.client, err = client.New(cfg, client.Options{Scheme: scheme}); err != nil {
		return nil, fmt.Errorf("setting up a client: %w", err)
	}
	return a, nil
}

// adminScheme has the kinds that an administrator's commands read and write.
func adminScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("setting up a client: %w", err)
		}
	}
	return scheme, nil
}

// certificates are those by which a machine knows the API server. They come from the kubeconfig, or
// else from what the cluster gives its Pods.
func (a *admin) certificates(ctx context.Context) ([]byte, error) {
	if len(a.ca) > 0 {
		return a.ca, nil
	}
	var cm corev1.ConfigMap
	key := client.ObjectKey{Namespace: v1.NodesNamespace, Name: "kube-root-ca.crt"}
	if err := a.client.Get(ctx, key, &cm); err != nil {
		return nil, fmt.Errorf("reading the cluster's CA, which the kubeconfig does not hold: %w", err)
	}
	return []byte(cm.Data["ca.crt"]), nil
}

// row is what is known of a node.
type row struct {
	Node    string `json:"node"`
	Join    string `json:"joinToken,omitempty"`
	Replace string `json:"replace,omitempty"`
	Account string `json:"credential,omitempty"`
	Lease   string `json:"leaseRenewed,omitempty"`
	Blocked string `json:"blocked,omitempty"`
}

func listTokens(c *cli.Context) error {
	if c.Args().Present() {
		return fmt.Errorf("%w: token list takes no arguments, got %q", errUsage, c.Args().First())
	}
	output := c.String("output")
	if !slices.Contains([]string{"table", "json", "yaml"}, output) {
		return fmt.Errorf("%w: --output %q is none of table, json and yaml", errUsage, output)
	}
	a, err := newAdmin(c.String("kubeconfig"))
	if err != nil {
		return err
	}
	rows, err := a.rows(c.Context, time.Now())
	if err != nil {
		return err
	}
	if output != "table" {
		return fleet.Encode(c.App.Writer, output, rows)
	}
	return tokenTable(c.App.Writer, rows)
}

func tokenTable(out io.Writer, rows []row) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "NODE\tJOIN TOKEN\tREPLACE\tCREDENTIAL\tLEASE\tBLOCKED")
	for _, r := range rows {
		cells := []string{r.Node, r.Join, r.Replace, r.Account, r.Lease, r.Blocked}
		for i := range cells {
			cells[i] = orDash(terminal.Line(cells[i], 200))
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

// rows are the nodes that have any of it, sorted.
func (a *admin) rows(ctx context.Context, now time.Time) ([]row, error) {
	in := []client.ListOption{client.InNamespace(v1.NodesNamespace), client.HasLabels{v1.ComponentLabel}}
	var accounts corev1.ServiceAccountList
	if err := a.client.List(ctx, &accounts, in...); err != nil {
		return nil, fmt.Errorf("listing ServiceAccounts: %w", err)
	}
	var leases coordinationv1.LeaseList
	if err := a.client.List(ctx, &leases, in...); err != nil {
		return nil, fmt.Errorf("listing Leases: %w", err)
	}
	var requests v1.NodeTokenRequestList
	if err := a.client.List(ctx, &requests, in[0]); err != nil {
		return nil, fmt.Errorf("listing NodeTokenRequests: %w", err)
	}
	rows := map[string]*row{}
	of := func(node string) *row {
		if rows[node] == nil {
			rows[node] = &row{Node: node}
		}
		return rows[node]
	}
	for _, account := range accounts.Items {
		if node, ok := strings.CutPrefix(account.Name, v1.ServiceAccountName("")); ok {
			of(node).Account = "made " + account.CreationTimestamp.UTC().Format(time.RFC3339)
		} else if node, ok := strings.CutPrefix(account.Name, v1.JoinAccountName("")); ok {
			r := of(node)
			r.Join, r.Replace = "unused", "no"
			if account.Annotations[v1.ReplaceAnnotation] == "true" {
				r.Replace = "yes"
			}
			if at, err := time.Parse(time.RFC3339, account.Annotations[v1.ExpiresAnnotation]); err == nil && at.After(now) {
				r.Join += ", until " + at.Format(time.RFC3339)
			} else if err == nil {
				r.Join = "ended"
			}
		}
	}
	for _, request := range requests.Items {
		r, door := of(request.Name), string(request.Spec.Door)
		switch {
		case request.Status.SealedAt != nil:
			r.Join = "used (" + door + ") at " + request.Status.SealedAt.UTC().Format(time.RFC3339)
		case request.Status.Reason != "":
			r.Join = "refused (" + door + "): " + request.Status.Reason
		default:
			r.Join = "asked for (" + door + ")"
		}
	}
	for _, lease := range leases.Items {
		if node, ok := strings.CutPrefix(lease.Name, v1.LeaseName("")); ok && lease.Spec.RenewTime != nil {
			of(node).Lease = lease.Spec.RenewTime.UTC().Format(time.RFC3339)
		}
	}
	blocked, err := a.blocked(ctx)
	for node, since := range blocked {
		of(node).Blocked = "since " + since
	}
	all := make([]row, 0, len(rows))
	for _, node := range slices.Sorted(maps.Keys(rows)) {
		all = append(all, *rows[node])
	}
	return all, err
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
