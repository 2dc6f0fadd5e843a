package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"multinicd/internal/preflight"
)

// errFirst: something must be done before nodes go over.
var errFirst = errors.New("something must be done first")

func preflightCommand() *cli.Command {
	return &cli.Command{
		Name: "preflight", Usage: "print what in the cluster would hurt, and what to do about it; change nothing",
		Description: "It looks for the field's agent (its controller, DaemonSet, Jobs and rights), at the definitions of objects and who owns them,\n" +
			"and at the objects. It exits with 1 if something must be done first, or could not be looked at. docs/migration.md has the\n" +
			"findings, and the rights that it needs: to get and list, and to read no Secret.",
		Action: runPreflight,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "kubeconfig", Usage: "`FILE` that says how to reach the API server; absent: $KUBECONFIG, then ~/.kube/config, then the Pod's own credential"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "table", Usage: "table or json"},
		},
	}
}

func runPreflight(c *cli.Context) error {
	output := c.String("output")
	switch {
	case c.Args().Present():
		return fmt.Errorf("%w: preflight takes no arguments, got %q", errUsage, c.Args().First())
	case output != "table" && output != "json":
		return fmt.Errorf("%w: --output %q is neither table nor json", errUsage, output)
	}
	a, err := newAdmin(c.String("kubeconfig"))
	if err != nil {
		return err
	}
	seen, err := preflight.Look(c.Context, a.client)
	if err != nil {
		return err
	}
	r := preflight.Judge(seen)
	print := r.Table
	if output == "json" {
		print = r.JSON
	}
	if err := print(c.App.Writer); err != nil {
		return err
	}
	if n := r.First(); n > 0 {
		return fmt.Errorf("%w: %d", errFirst, n)
	}
	return nil
}
