package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"multinicd/internal/fleet"
	"multinicd/internal/web"
)

func nodeCommand() *cli.Command {
	return &cli.Command{
		Name: "node", ArgsUsage: "NAME",
		Usage: "show one node: its NICs, wanted and there, its conditions, the last changes, rollout and credential",
		Description: "Reported is when the bridge last took something new over from the node, and Lease when the node last renewed its\n" +
			"Lease, by which it says that it lives: every two minutes. They are the columns REPORTED and LEASE of fleet.\n" +
			"It takes the right to list multinicnodeconfigs in multinic-system. What else may not be read is left out, and\n" +
			"said: Events there, and ConfigMaps, Leases, ServiceAccounts and NodeTokenRequests in multinic-nodes.",
		Action: withNames(showNode),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "table", Usage: "`FORMAT`: table, json or yaml"},
			&cli.StringFlag{Name: "kubeconfig", Usage: "`FILE` that says how to reach the API server; absent: $KUBECONFIG, then ~/.kube/config, then the Pod's own credential"},
		},
	}
}

func showNode(c *cli.Context, names []string) error {
	output := c.String("output")
	switch {
	case len(names) != 1:
		return fmt.Errorf("%w: node takes the name of one node; %s fleet lists all", errUsage, program)
	case !slices.Contains([]string{"table", "json", "yaml"}, output):
		return fmt.Errorf("%w: --output %q is none of table, json and yaml", errUsage, output)
	}
	node := names[0]
	a, err := newAdmin(c.String("kubeconfig"))
	if err != nil {
		return err
	}
	d, missing, err := web.Look(c.Context, a.client, node)
	if err != nil {
		return err
	}
	if !d.Known {
		return fmt.Errorf("nothing in the cluster is about node %s: it has neither an object nor a report; %s fleet lists those that have", node, program)
	}
	return fleet.PrintNode(c.App.Writer, output, d, missing, time.Now())
}
