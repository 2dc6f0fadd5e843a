package main

import (
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"
)

// How the program is called. As a plugin of kubectl it is run by the name kubectl-multinic.
const (
	bridgeName = "multinic-bridge"
	pluginName = "kubectl multinic"
	pluginFile = "kubectl-multinic"
)

// program is what messages call the program.
var program = bridgeName

// forAdministrators are the commands that run anywhere. The others run in the cluster.
var forAdministrators = []string{"fleet", "node", "trigger", "cleanup", "token", "migrate", "version", "__complete"}

// appFor is the app by the name of the program's file.
func appFor(file string) *cli.App {
	if filepath.Base(file) != pluginFile {
		return newApp()
	}
	program = pluginName
	app := newApp()
	app.Usage = "look at the NICs that multinicd configures on all nodes, and act on them"
	app.Commands = slices.DeleteFunc(app.Commands, func(c *cli.Command) bool { return !slices.Contains(forAdministrators, c.Name) })
	return app
}

// kubeContext is the context of the kubeconfig that --context names; "": its current one.
var kubeContext string

// withContext gives each command that an administrator runs, and that has --kubeconfig, the option of
// kubectl that goes with it.
func withContext(commands []*cli.Command) {
	for _, c := range commands {
		hasConfig := slices.ContainsFunc(c.Flags, func(f cli.Flag) bool { return f.Names()[0] == "kubeconfig" })
		if hasConfig {
			c.Flags = append(slices.Clone(c.Flags), &cli.StringFlag{Name: "context", Destination: &kubeContext, Usage: "`NAME` of a context in the kubeconfig; absent: its current one"})
		}
		withContext(c.Subcommands)
	}
}
