package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/terminal"
)

// exitTimeout is the exit code for a run that has not ended in time. The other codes are those of
// the node's work.
const exitTimeout = 8

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string { return e.err.Error() }
func (e exitError) Unwrap() error { return e.err }

// runCommands are trigger and cleanup. Both are the same command with another action.
func runCommands() []*cli.Command {
	flags := func() []cli.Flag {
		return []cli.Flag{
			&cli.StringSliceFlag{Name: "node", Usage: "`NAME` of a node, as the arguments are; may be given more than once"},
			&cli.StringFlag{Name: "selector", Aliases: []string{"l"}, Usage: "the nodes whose objects have these `LABELS`, such as pool=a"},
			&cli.BoolFlag{Name: "all", Usage: "every node that has an object"},
			&cli.BoolFlag{Name: "dry-run", Usage: "only list the nodes that would be asked, with the NICs of their objects"},
			&cli.BoolFlag{Name: "wait", Usage: "wait until every node has answered; the exit code says how it ended"},
			&cli.DurationFlag{Name: "timeout", Value: 5 * time.Minute, Usage: "with --wait: give up after `TIME`, which ends with exit code 8"},
			&cli.StringFlag{Name: "kubeconfig", Usage: "`FILE` that says how to reach the API server; absent: $KUBECONFIG, then ~/.kube/config, then the Pod's own credential"},
		}
	}
	const codes = "Exit codes, with --wait, the gravest of all nodes': 0 done; 1 failed before any change; 2 usage; 3 failed and\n" +
		"rolled back; 4 rollback failed; 5 some NICs wait to be plugged in; 6 some NICs were refused; 8 not ended in time.\n" +
		"It takes the right to create and get multinicnoderuns, and the verb %s on the node's multinicnodeconfigs."
	command := func(action v1.RunAction, usage, what string) *cli.Command {
		return &cli.Command{
			Name: string(action), ArgsUsage: "[NAME...]", Usage: usage, Flags: flags(), Description: what + "\n" + fmt.Sprintf(codes, action),
			Action: withNames(func(c *cli.Context, names []string) error { return askForRuns(c, action, names) }),
		}
	}
	return []*cli.Command{
		command(v1.ActionTrigger, "have nodes reconcile now, and wait for the result",
			"Asks each node to make its NICs as its object says now, without waiting for the next retry."),
		command(v1.ActionCleanup, "have nodes give all their NICs back, and wait for the result",
			"Asks each node to give back every NIC that multinicd configured, as it was found: what\n"+
				"uses them loses them. It stays so until the object changes, or trigger is asked for. (Deleting an object gives\n"+
				"nothing back, unless the node says on_delete = \"restore\".)"),
	}
}

func askForRuns(c *cli.Context, action v1.RunAction, names []string) error {
	nodes, selector, all := append(names, c.StringSlice("node")...), c.String("selector"), c.Bool("all")
	named := 0
	for _, given := range []bool{len(nodes) > 0, selector != "", all} {
		if given {
			named++
		}
	}
	switch {
	case named == 0:
		return fmt.Errorf("%w: name the nodes, as in %s %s NAME; or give --selector or --all", errUsage, program, action)
	case named != 1:
		return fmt.Errorf("%w: give one of names, --selector and --all", errUsage)
	case c.Duration("timeout") <= 0:
		return fmt.Errorf("%w: --timeout must be more than nothing", errUsage)
	}
	for i, node := range nodes {
		if err := checkNode(node); err != nil {
			return err
		}
		if slices.Contains(nodes[:i], node) {
			return fmt.Errorf("%w: %s is named twice", errUsage, node)
		}
	}
	a, err := newAdmin(c.String("kubeconfig"))
	if err != nil {
		return err
	}
	if selector != "" || all {
		if nodes, err = a.nodesBy(c.Context, selector); err != nil {
			return err
		}
	}
	if c.Bool("dry-run") {
		return a.wouldAsk(c.Context, c.App.Writer, nodes, action)
	}
	runs, failed := a.makeRuns(c.Context, nodes, action)
	for _, r := range runs {
		fmt.Fprintf(c.App.Writer, "%s: asked for %s, run %s\n", r.Spec.Node, action, r.Name)
	}
	if !c.Bool("wait") {
		return failed
	}
	far := terminal.NewProgress(c.App.ErrWriter, string(action))
	code, err := a.await(c.Context, c.App.Writer, runs, c.Duration("timeout"), far)
	far.End()
	if failed != nil {
		code = int(v1.Gravest(int32(code), v1.ExitFailed))
	}
	if err = errors.Join(failed, err); err == nil && code != v1.ExitDone {
		err = errors.New("not every node is done")
	}
	if err == nil {
		return nil
	}
	return exitError{code, err}
}

// wouldAsk lists the runs that would be made.
func (a *admin) wouldAsk(ctx context.Context, w io.Writer, nodes []string, action v1.RunAction) error {
	for _, node := range nodes {
		var o v1.MultiNicNodeConfig
		if err := a.client.Get(ctx, client.ObjectKey{Namespace: v1.SystemNamespace, Name: node}, &o); err != nil {
			return fmt.Errorf("reading the object of %s: %w", node, err)
		}
		var nics []string
		wanted, _ := o.Validate()
		for _, n := range wanted {
			nics = append(nics, n.Name)
		}
		fmt.Fprintf(w, "%s: would be asked for %s: %s\n", node, action, cmp.Or(strings.Join(nics, ", "), "no NICs"))
	}
	return nil
}

// nodesBy lists the nodes whose objects match a selector. "" matches all.
func (a *admin) nodesBy(ctx context.Context, selector string) ([]string, error) {
	parsed, err := labels.Parse(selector)
	if err != nil {
		return nil, fmt.Errorf("%w: reading --selector: %w", errUsage, err)
	}
	var list v1.MultiNicNodeConfigList
	if err := a.client.List(ctx, &list, client.InNamespace(v1.SystemNamespace), client.MatchingLabelsSelector{Selector: parsed}); err != nil {
		return nil, fmt.Errorf("listing objects: %w", err)
	}
	if len(list.Items) == 0 && selector == "" {
		return nil, fmt.Errorf("there is no object in %s: nodes whose object was deleted cannot be asked; use multinicd on the node", v1.SystemNamespace)
	}
	if len(list.Items) == 0 {
		return nil, fmt.Errorf("no object matches --selector %s", selector)
	}
	var out []string
	for _, o := range list.Items {
		out = append(out, o.Name)
	}
	return out, nil
}

// makeRuns asks every node. A node that cannot be asked does not keep the others from being asked.
func (a *admin) makeRuns(ctx context.Context, nodes []string, action v1.RunAction) ([]v1.MultiNicNodeRun, error) {
	var out []v1.MultiNicNodeRun
	var failed error
	for _, node := range nodes {
		r := v1.MultiNicNodeRun{
			ObjectMeta: metav1.ObjectMeta{GenerateName: node + "-", Namespace: v1.SystemNamespace},
			Spec:       v1.MultiNicNodeRunSpec{Node: node, Action: action},
		}
		if err := a.client.Create(ctx, &r); err != nil {
			failed = errors.Join(failed, fmt.Errorf("asking %s: %w", node, err))
			continue
		}
		out = append(out, r)
	}
	return out, failed
}

// ended is the line about a run that has ended.
func ended(r v1.MultiNicNodeRun) string {
	return fmt.Sprintf("%s: %s, exit code %d: %s: %s\n", r.Spec.Node, r.Status.State, *r.Status.ExitCode, r.Status.Reason, r.Status.Message)
}

// await reports the end of each run as soon as the run has ended, and how far all are. It returns the gravest exit code,
// and an error if some have not ended in time.
func (a *admin) await(ctx context.Context, w io.Writer, runs []v1.MultiNicNodeRun, timeout time.Duration, far *terminal.Progress) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var codes []int32
	all := len(runs)
	for pause := 200 * time.Millisecond; len(runs) > 0; pause = min(2*pause, 2*time.Second) {
		var open []v1.MultiNicNodeRun
		for _, r := range runs {
			err := a.client.Get(ctx, client.ObjectKeyFromObject(&r), &r)
			switch {
			case apierrors.IsNotFound(err):
				return v1.ExitFailed, fmt.Errorf("run %s is gone: somebody deleted it", r.Name)
			case apierrors.IsForbidden(err):
				return v1.ExitFailed, fmt.Errorf("reading run %s: %w", r.Name, err)
			case err != nil || r.Status.ExitCode == nil:
				open = append(open, r) // the API server may be away for a while
			default:
				codes = append(codes, *r.Status.ExitCode)
				far.Above(func() { fmt.Fprint(w, ended(terminal.Plain(r))) })
			}
		}
		if runs = open; len(runs) == 0 {
			break
		}
		far.Set(len(codes), all, "waiting for "+runs[0].Spec.Node)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			var names, open []string
			for _, r := range runs {
				names, open = append(names, r.Spec.Node), append(open, r.Name)
			}
			return exitTimeout, fmt.Errorf("no answer within %s from %s: is multinicd running there? A node that comes back within the hour still does it, unless you delete the run: kubectl delete mnnr -n %s %s",
				timeout, strings.Join(names, ", "), v1.SystemNamespace, strings.Join(open, " "))
		}
	}
	return int(v1.Gravest(codes...)), nil
}
