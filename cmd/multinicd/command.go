package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	v1 "multinicd/api/v1"
	"multinicd/cmd/complete"
	"multinicd/cmd/line"
	"multinicd/internal/daemon/status"
	"multinicd/internal/terminal"
)

func newApp() *cli.App {
	app := commands()
	// Without this each command would print its help first.
	for _, command := range app.Commands {
		command.OnUsageError = func(_ *cli.Context, err error, _ bool) error {
			return exitError{exitUsage, fmt.Errorf("%w; see multinicd %s --help", err, command.Name)}
		}
	}
	return app
}

func commands() *cli.App {
	dryRun := func(usage string) cli.Flag { return &cli.BoolFlag{Name: "dry-run", Usage: usage} }
	verbose := &cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "say why, too: who configures what, and how we know"}
	output := &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FORMAT`: table or json", Value: "table"}
	file := &cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "read the MultiNicNodeConfig from `FILE` (YAML or JSON, - for standard input), not from the API server"}
	return &cli.App{
		Name:    "multinicd",
		Usage:   "configure the additional NICs of this node",
		Version: version,
		Before:  printPlainly,
		Description: "multinicd finds NICs by MAC address and configures them for good, as the node's MultiNicNodeConfig says.\n" +
			"Exit codes: 0 done or nothing to do; 1 failed before any change; 2 usage; 3 failed and rolled back; 4 rollback failed;\n" +
			"5 some NICs wait to be plugged in; 6 some NICs were refused; 7 another multinicd is at work.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Usage: "`FILE` with the configuration", Value: "/etc/multinicd/multinicd.toml", EnvVars: []string{"MULTINICD_CONFIG"}},
			&cli.StringFlag{Name: "node", Usage: "`NAME` of this node, instead of what the configuration or the host says", EnvVars: []string{"MULTINICD_NODE"}},
			&cli.StringFlag{Name: "root", Usage: "`FOLDER` under which the host's files are", Value: "/", EnvVars: []string{"MULTINICD_ROOT"}},
			&cli.StringFlag{Name: "job", Usage: "`NAME` of the Kubernetes Job in whose Pod this runs: the Pod's own credential is used", EnvVars: []string{"MULTINICD_JOB"}},
		},
		Commands: []*cli.Command{
			{Name: "run", Usage: "serve: keep the NICs as the object says (what multinicd.service runs)", Action: runCommand},
			{Name: "apply", Usage: "make the NICs as the object says, once", Action: printing(applyCommand), Flags: []cli.Flag{file,
				dryRun("only say what would be done, as plan does"),
				&cli.DurationFlag{Name: "wait", Usage: "wait as long as `TIME` for another multinicd to end"}, output, verbose}},
			{Name: "plan", Usage: "say what apply would do, and change nothing; the exit code is that of apply if every change goes well", Action: printing(planCommand), Flags: []cli.Flag{file, output, verbose}},
			{Name: "status", Usage: "show what is wanted, what is there, what differs, and why", Action: statusCommand, Flags: []cli.Flag{
				&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FORMAT`: table, json, or metrics for node_exporter's textfile collector", Value: "table"}, verbose,
				&cli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "go on until ctrl-c: show the status anew when it changes"}}},
			{Name: "rollback", Usage: "go back to the configuration before the last change, until the object changes again", Action: printing(rollbackCommand), Flags: []cli.Flag{
				dryRun("only say what would be done"),
				&cli.BoolFlag{Name: "undo", Usage: "end a rollback: go on with the object as it is"}, output}},
			{Name: "recover", Usage: "undo a change that a crash cut off and give the NICs their names, without bus or API (what multinicd-recover.service runs before the network managers)", Action: recoverCommand},
			{Name: "cleanup", Usage: "give back every NIC as it was found, and remove all that multinicd has written for them", Action: printing(cleanupCommand), Flags: []cli.Flag{
				dryRun("only say what would be done"), output}},
			{Name: "trigger", Usage: "have the running service try at once what waits for its next retry, and show what comes of it", Action: printing(triggerCommand), Flags: []cli.Flag{output}},
			{Name: "doctor", Usage: "say what would bite on this host, with evidence and advice; change nothing (exit code 1: something must be done)", Action: doctorCommand, Flags: []cli.Flag{output, verbose}},
			{Name: "join", Usage: "get this node a credential of its own, by a join token or by the kubelet's identity", Action: joinCommand, Flags: []cli.Flag{
				&cli.StringFlag{Name: "server", Usage: "`URL` of the API server, https://..."},
				&cli.StringFlag{Name: "token-file", Usage: "join `FILE` as multinic-bridge token create wrote it: the join token and the CA"},
				&cli.StringFlag{Name: "ca-hash", Usage: "`HASH` of the CA in that file, sha256:...; nothing is sent unless it matches"},
				&cli.BoolFlag{Name: "kubelet", Usage: "join by the identity of this node's kubelet"},
				&cli.StringFlag{Name: "kubeconfig", Usage: "`FILE` of the kubelet, with --kubelet, instead of what the configuration says"},
				&cli.StringFlag{Name: "node", Usage: "`NAME` of this node, like the global option"},
				&cli.DurationFlag{Name: "timeout", Usage: "give up after `TIME`", Value: 2 * time.Minute}}},
			complete.Command(values),
			{Name: "version", Usage: "print the version", Action: func(c *cli.Context) error {
				if err := noArguments(c); err != nil {
					return err
				}
				_, err := fmt.Fprintln(c.App.Writer, "multinicd "+version)
				return err
			}},
		},
		// main prints errors and turns them into the exit code.
		ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			return exitError{exitUsage, fmt.Errorf("%w; see multinicd help", err)}
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return exitError{exitUsage, fmt.Errorf("there is no command %q; see multinicd help", c.Args().First())}
			}
			return line.App(c)
		},
	}
}

func runCommand(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	w, err := wireService(c)
	if err != nil {
		return err
	}
	defer w.close()
	return w.serve(c.Context)
}

// printing is a command that prints, has no arguments and needs all that the configuration names.
func printing(do func(c *cli.Context, w *wired) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		if err := checkOutput(c); err != nil {
			return err
		}
		w, err := wire(c)
		if err != nil {
			return err
		}
		defer w.close()
		return do(c, w)
	}
}

func applyCommand(c *cli.Context, w *wired) error {
	if c.Bool("dry-run") {
		return planCommand(c, w)
	}
	said, err := w.apply(c.Context, c.String("file"), c.Duration("wait"))
	if err != nil && said.Node == "" {
		return err
	}
	if werr := write(c, said, status.Node.Table); werr != nil {
		return werr
	}
	if code := said.ExitCode(); code != exitDone || err != nil {
		return exitError{max(code, exitFailed), err}
	}
	return nil
}

func planCommand(c *cli.Context, w *wired) error {
	return show(c)(w.plan(c.Context, c.String("file")))
}

// show prints what would be done, and ends with the exit code that the real change would end with.
func show(c *cli.Context) func(preview, error) error {
	return func(p preview, err error) error {
		if err == nil {
			err = write(c, p, preview.Text)
		}
		if err == nil && p.code != exitDone {
			err = exitError{p.code, nil}
		}
		return err
	}
}

func rollbackCommand(c *cli.Context, w *wired) error {
	back := !c.Bool("undo")
	if c.Bool("dry-run") {
		return show(c)(w.previewRollback(c.Context, back))
	}
	said, err := w.rollback(c.Context, back)
	if err != nil {
		return err
	}
	if err := write(c, said, status.Node.Table); err != nil {
		return err
	}
	for _, n := range said.NICs {
		if n.Status != v1.StateConfigured {
			return exitError{said.ExitCode(), nil}
		}
	}
	return nil
}

func triggerCommand(c *cli.Context, w *wired) error {
	said, err := w.trigger(c.Context)
	if err != nil {
		return err
	}
	if err := write(c, said, status.Node.Table); err != nil {
		return err
	}
	return ended(said)
}

// ended is the end of a command by which the node has come to this state.
func ended(said status.Node) error {
	if code := said.ExitCode(); code != exitDone {
		return exitError{code, nil}
	}
	return nil
}

func cleanupCommand(c *cli.Context, w *wired) error {
	if c.Bool("dry-run") {
		return show(c)(w.previewCleanup(c.Context))
	}
	said, given, err := w.cleanup(c.Context)
	if err != nil {
		return err
	}
	if err := write(c, given, status.GivenText); err != nil {
		return err
	}
	return ended(said)
}

func joinCommand(c *cli.Context) error {
	o := joinOptions{server: c.String("server"), tokenFile: c.String("token-file"), caHash: c.String("ca-hash"), kubeconfig: c.String("kubeconfig"), timeout: c.Duration("timeout")}
	byToken := o.server != "" || o.tokenFile != "" || o.caHash != ""
	if err := noArguments(c); err != nil {
		return err
	}
	switch {
	case byToken && (c.Bool("kubelet") || o.kubeconfig != ""):
		return exitError{exitUsage, errors.New("join by a token, or with --kubelet: not both")}
	case byToken && (o.server == "" || o.tokenFile == "" || o.caHash == ""):
		return exitError{exitUsage, errors.New("joining by a token takes --server, --token-file and --ca-hash: multinic-bridge token create prints the whole line")}
	case !byToken && !c.Bool("kubelet"):
		return exitError{exitUsage, errors.New("join by a token (--server, --token-file, --ca-hash) or by the kubelet's identity (--kubelet)")}
	case o.server != "" && !strings.HasPrefix(o.server, "https://"):
		return exitError{exitUsage, fmt.Errorf("--server %q is not an https:// URL", o.server)}
	case o.timeout <= 0:
		return exitError{exitUsage, errors.New("--timeout must be more than nothing")}
	}
	w, err := wireHost(c)
	if err != nil {
		return err
	}
	defer w.close()
	if !byToken && o.kubeconfig == "" {
		if o.kubeconfig = w.kubeconfig(); o.kubeconfig == "" {
			return exitError{exitUsage, errors.New("join.kubelet_kubeconfig is empty in multinicd.toml: name the file with --kubeconfig")}
		}
	}
	far := terminal.NewProgress(c.App.ErrWriter, "joining "+w.node)
	joined, err := w.join(c.Context, o)
	far.End()
	if err != nil {
		return joinError(err)
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s has joined by %s; its credential is in %s, and a running multinicd takes it up by itself\n", w.node, joined.Server, w.cfg.CredentialDir())
	return err
}

func noArguments(c *cli.Context) error {
	if c.Args().Present() {
		return exitError{exitUsage, fmt.Errorf("%s takes no arguments, got %q", c.Command.Name, c.Args().First())}
	}
	return nil
}

func checkOutput(c *cli.Context) error {
	name := c.Command.Name
	if o := c.String("output"); o != "table" && o != "json" {
		formats := "table or json"
		if name == "status" {
			formats = "table, json or metrics"
		}
		return exitError{exitUsage, fmt.Errorf("-o %s: want %s", o, formats)}
	}
	if err := noArguments(c); err != nil && (name == "plan" || name == "apply") {
		return exitError{exitUsage, fmt.Errorf("%w; a file is named with -f", err)}
	} else if err != nil {
		return err
	}
	return nil
}
