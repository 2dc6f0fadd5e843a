package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"multinicd/internal/fleet"
	"multinicd/internal/web"
)

func nodeCommand() *cli.Command {
	return &cli.Command{
		Name: "node", ArgsUsage: "NAME",
		Usage: "show one node: its NICs, wanted and there, its conditions, the last changes, rollout and credential",
		Description: "It takes the right to list multinicnodeconfigs in multinic-system. What else may not be read is left out, and\n" +
			"said: Events there, and ConfigMaps, Leases, ServiceAccounts and NodeTokenRequests in multinic-nodes.",
		Action: showNode,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "table", Usage: "`FORMAT`: table, json or yaml"},
			&cli.StringFlag{Name: "kubeconfig", Usage: "`FILE` that says how to reach the API server; absent: $KUBECONFIG, then ~/.kube/config, then the Pod's own credential"},
		},
	}
}

func showNode(c *cli.Context) error {
	output, node := c.String("output"), c.Args().First()
	if rest := c.Args().Tail(); len(rest) > 0 && strings.HasPrefix(rest[0], "-") && !strings.HasPrefix(node, "-") {
		return nodeFirst(c, node, rest)
	}
	switch {
	case c.Args().Len() != 1:
		return fmt.Errorf("%w: node takes the name of one node", errUsage)
	case !slices.Contains([]string{"table", "json", "yaml"}, output):
		return fmt.Errorf("%w: --output %q is none of table, json and yaml", errUsage, output)
	}
	if err := checkNode(node); err != nil {
		return err
	}
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

// nodeFirst takes options behind the name, as kubectl does, to which this parser gives no meaning.
func nodeFirst(c *cli.Context, node string, rest []string) error {
	args := []string{c.App.Name, c.Command.Name}
	for _, f := range c.LocalFlagNames() {
		args = append(args, "--"+f+"="+c.String(f))
	}
	return c.App.RunContext(c.Context, append(append(args, rest...), node))
}
