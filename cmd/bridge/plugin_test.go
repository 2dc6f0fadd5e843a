package main

import (
	"errors"
	"strings"
	"testing"

	"multinicd/cmd/line"
)

// As a plugin of kubectl the program has what administrators run, and calls itself as they do.
func TestThePluginOfKubectl(t *testing.T) {
	defer func() { program = bridgeName }()
	for words, want := range map[string]string{
		"run":                  `there is no command "run"; see kubectl multinic --help`,
		"nope":                 `there is no command "nope"; see kubectl multinic --help`,
		"token nope":           `see kubectl multinic token --help`,
		"node":                 "the name of one node",
		"node UPPER":           "no node name",
		"node a b":             "the name of one node",
		"node a -o xml":        `--output "xml" is none of table, json and yaml`,
		"node -o json a --foo": "see kubectl multinic node --help",
		"fleet --context":      "see kubectl multinic fleet --help",
	} {
		app := appFor("/home/a/.krew/bin/kubectl-multinic")
		var out strings.Builder
		app.Writer, app.ErrWriter = &out, &out
		err := line.Run(t.Context(), app, append([]string{"kubectl-multinic"}, strings.Fields(words)...))
		if !errors.Is(err, errUsage) || !strings.Contains(err.Error(), want) || out.Len() > 0 {
			t.Errorf("%s: got %v, want a wrong command line and %q; it prints %q", words, err, want, out.String())
		}
	}
	var names []string
	for _, c := range appFor("kubectl-multinic").Commands {
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	if got := strings.Join(names, " "); got != "token version trigger cleanup fleet migrate node" {
		t.Errorf("it has the commands %s", got)
	}
	program = bridgeName
	if app := appFor("/usr/bin/multinic-bridge"); app.Name != bridgeName || app.Command("run") == nil {
		t.Error("by its own name it is another program")
	}
}
