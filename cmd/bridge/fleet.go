package main

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge"
	"multinicd/internal/fleet"
	"multinicd/internal/terminal"
)

func fleetCommand() *cli.Command {
	return &cli.Command{
		Name:  "fleet",
		Usage: "list all nodes: state, reason, age, drift, version, credential",
		Description: "REPORTED is since the bridge last took something new over from the node, LEASE since the node renewed its Lease,\n" +
			"CREDENTIAL since its identity was made; the tokens of that live for an hour each. DRIFT names the NICs that are not as\n" +
			"wanted now, since somebody changed them: another writer keeps doing so, or they are being put back. If all are as\n" +
			"wanted, it says how long ago the last one was put back within a day; what that was stands in the output of node NAME.\n" +
			"A node whose object is gone is listed, without state, until the bridge has taken its last report over: \"no object\",\n" +
			"and whether it has said to keep its NICs or to have given them back. --selector and --not-ready leave it out.\n" +
			"--web serves the same as a page in a browser of this machine, with your own rights, until ctrl-c (docs/fleet.md).",
		Action: listFleet,
		Flags: append(webFlags(), []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "table", Usage: "`FORMAT`: table, wide, json or yaml"},
			&cli.StringSliceFlag{Name: "state", Usage: "only nodes in `STATE`: Pending, InProgress, Configured, Failed"},
			&cli.StringSliceFlag{Name: "reason", Usage: "only nodes whose Ready, Degraded or a NIC has `REASON`"},
			&cli.StringFlag{Name: "selector", Aliases: []string{"l"}, Usage: "only nodes whose objects have these `LABELS`"},
			&cli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "go on until ctrl-c: show the nodes anew when something changes"},
			&cli.BoolFlag{Name: "not-ready", Usage: "only nodes that are not Ready"},
			&cli.StringFlag{Name: "kubeconfig", Usage: "`FILE` that says how to reach the API server; absent: $KUBECONFIG, then ~/.kube/config, then the Pod's own credential"},
		}...),
	}
}

func listFleet(c *cli.Context) error {
	output := c.String("output")
	switch {
	case c.Args().Present():
		return fmt.Errorf("%w: fleet takes no arguments, got %q: one node is shown by %s node NAME", errUsage, c.Args().First(), program)
	case !slices.Contains([]string{"table", "wide", "json", "yaml"}, output):
		return fmt.Errorf("%w: --output %q is none of table, wide, json and yaml", errUsage, output)
	}
	states, err := parseStates(c.StringSlice("state"))
	if err != nil {
		return err
	}
	selector, err := labels.Parse(c.String("selector"))
	if err != nil {
		return fmt.Errorf("%w: reading --selector: %w", errUsage, err)
	}
	if c.Bool("watch") && (output != "table" || c.Bool("web")) {
		return fmt.Errorf("%w: fleet --watch shows a table: leave out --output and --web", errUsage)
	}
	if c.Bool("web") || c.IsSet("port") {
		return serveFleet(c, selector, states)
	}
	a, err := newAdmin(c.String("kubeconfig"))
	if err != nil {
		return err
	}
	looked, reasons := 0, map[string]bool{}
	list := func(from client.Reader) ([]fleet.Node, error) {
		return fleet.List(c.Context, from, selector, func(n fleet.Node, has []string) bool {
			looked++
			for _, r := range has {
				reasons[r] = true
			}
			return (len(states) == 0 || slices.Contains(states, n.State)) &&
				(len(c.StringSlice("reason")) == 0 || fleet.HasReason(has, c.StringSlice("reason"))) &&
				(!c.Bool("not-ready") || n.Ready != "True" && !n.NoObject)
		})
	}
	far := terminal.NewProgress(c.App.ErrWriter, "listing the nodes")
	nodes, err := list(a.client) // what may not be read is said before anything is watched
	far.End()
	if err != nil {
		return err
	}
	if c.Bool("watch") {
		return watchFleet(c, selector, list)
	}
	if len(nodes) == 0 {
		fmt.Fprintln(c.App.ErrWriter, fleet.NoMatch(looked, c.StringSlice("reason"), reasons))
	}
	return fleet.Print(c.App.Writer, output, nodes, time.Now())
}

func watchFleet(c *cli.Context, selector labels.Selector, list func(client.Reader) ([]fleet.Node, error)) error {
	cfg, err := adminConfig(c.String("kubeconfig"))
	if err != nil {
		return err
	}
	scheme, err := adminScheme()
	if err != nil {
		return err
	}
	bridge.LogLibraries(slog.New(slog.DiscardHandler)) // the screen says what fails
	return fleet.Watch(c.Context, c.App.Writer, fleet.Cluster{Config: cfg, Scheme: scheme}, selector, list)
}

// parseStates takes the four words in upper or lower case.
func parseStates(words []string) ([]v1.State, error) {
	var out []v1.State
	for _, word := range words {
		all := []v1.State{v1.StatePending, v1.StateInProgress, v1.StateConfigured, v1.StateFailed}
		i := slices.IndexFunc(all, func(s v1.State) bool { return strings.EqualFold(string(s), word) })
		if i < 0 {
			return nil, fmt.Errorf("%w: --state %q is none of Pending, InProgress, Configured or Failed", errUsage, word)
		}
		out = append(out, all[i])
	}
	return out, nil
}
