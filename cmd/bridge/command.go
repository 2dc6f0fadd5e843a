package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	v1 "multinicd/api/v1"
	"multinicd/cmd/complete"
	"multinicd/cmd/line"
	"multinicd/internal/bridge"
	"multinicd/internal/bridge/jobs"
	"multinicd/internal/bridge/rollout"
	"multinicd/internal/terminal"
)

// env is the environment variable of a flag.
func env(name string) []string { return []string{"MULTINIC_BRIDGE_" + name} }

func newApp() *cli.App {
	app := &cli.App{
		Name:    program,
		Usage:   "turns the reports of nodes into the status of their MultiNicNodeConfig, and gives nodes their credentials",
		Version: version,
		Before:  printPlainly,
		Commands: []*cli.Command{
			{
				Name:   "run",
				Usage:  "run the bridge until it is told to stop",
				Action: run,
				Flags: []cli.Flag{
					&cli.StringFlag{
						Name: "duty", EnvVars: env("DUTY"),
						Usage: "what this process does, as a `DUTY` that has an identity of its own: status, as multinic-bridge, or credentials, as multinic-credentials (docs/security.md)",
					},
					&cli.StringFlag{
						Name: "kubeconfig", EnvVars: env("KUBECONFIG"),
						Usage: "`FILE` that says how to reach the API server; absent: the Pod's own credential",
					},
					&cli.BoolFlag{
						Name: "leader-elect", EnvVars: env("LEADER_ELECT"),
						Usage: "stand by while another bridge leads",
					},
					&cli.StringFlag{
						Name: "health-address", EnvVars: env("HEALTH_ADDRESS"), Value: ":8081",
						Usage: "`HOST:PORT` of /healthz and /readyz; 0 serves none",
					},
					&cli.StringFlag{
						Name: "metrics-address", EnvVars: env("METRICS_ADDRESS"), Value: ":8080",
						Usage: "`HOST:PORT` of /metrics; 0 serves none",
					},
					&cli.StringFlag{
						Name: "pprof-address", EnvVars: env("PPROF_ADDRESS"),
						Usage: "`HOST:PORT` of Go's profiles, for whoever can reach it; absent: none",
					},
					&cli.DurationFlag{
						Name: "silent-after", EnvVars: env("SILENT_AFTER"), Value: v1.SilentAfter,
						Usage: "how long a node's Lease may stand still until Ready turns Unknown; nodes renew it every 2 min",
					},
					&cli.StringFlag{
						Name: "execution", EnvVars: env("EXECUTION"), Value: string(jobs.ExecutionDaemon),
						Usage: "by whom nodes are configured: daemon; job; or auto: by Jobs where no daemon lives (docs/jobs.md)",
					},
					&cli.StringFlag{
						Name: "job-image", EnvVars: env("JOB_IMAGE"),
						Usage: "`IMAGE` of the Jobs: the one that the ConfigMap multinic-jobs names",
					},
					&cli.DurationFlag{
						Name: "job-deadline", EnvVars: env("JOB_DEADLINE"), Value: jobs.Deadline,
						Usage: "how long a Job may take, and wait for NICs",
					},
					&cli.StringFlag{
						Name: "rollout-max", EnvVars: env("ROLLOUT_MAX"),
						Usage: "at most so many `NODES` change at once: a number, or a percentage such as 10%; absent: no brake (docs/rollout.md)",
					},
					&cli.IntFlag{
						Name: "rollout-stop-after", EnvVars: env("ROLLOUT_STOP_AFTER"), Value: 3,
						Usage: "with --rollout-max: release nothing more once so many nodes have failed; 0: never stop",
					},
					&cli.DurationFlag{
						Name: "rollout-patience", EnvVars: env("ROLLOUT_PATIENCE"), Value: rollout.Patience,
						Usage: "with --rollout-max: a node that was released and has not settled after so long counts as failed",
					},
					&cli.BoolFlag{
						Name: "node-label", EnvVars: env("NODE_LABEL"),
						Usage: "keep the labels multinic.io/ready and node-restriction.kubernetes.io/multinic-ready of Nodes: true, false or unknown (docs/cluster.md)",
					},
					&cli.StringFlag{
						Name: "log-level", EnvVars: env("LOG_LEVEL"), Value: "info",
						Usage: "debug, info, warn or error",
					},
					&cli.StringFlag{
						Name: "log-format", EnvVars: env("LOG_FORMAT"), Value: "json",
						Usage: "json or text",
					},
				},
			},
			tokenCommand(),
			{
				Name:  "version",
				Usage: "print the version",
				Action: func(c *cli.Context) error {
					if c.Args().Present() {
						return fmt.Errorf("%w: version takes no arguments, got %q", errUsage, c.Args().First())
					}
					_, err := fmt.Fprintln(c.App.Writer, version)
					return err
				},
			},
		},
	}
	app.Commands = append(append(app.Commands, runCommands()...), fleetCommand(), intakeCommand(), openstackCommand(), legacyCommand(), migrateCommand())
	app.Commands = append(app.Commands, nodeCommand(), complete.Command(values))
	for _, c := range app.Commands {
		if slices.Contains(forAdministrators, c.Name) {
			withContext([]*cli.Command{c})
		}
	}
	strict(app)
	return app
}

// printPlainly keeps what nodes and publishers have written from acting on a terminal, in whatever a
// command prints and logs.
func printPlainly(c *cli.Context) error {
	c.App.Writer, c.App.ErrWriter = terminal.Writer(c.App.Writer), terminal.Writer(c.App.ErrWriter)
	return nil
}

// strict turns a wrong command line into one error of one line, for the app and all its commands.
func strict(app *cli.App) {
	app.OnUsageError = func(_ *cli.Context, err error, _ bool) error {
		return fmt.Errorf("%w: %w; see %s help", errUsage, err, program)
	}
	app.Action = unknown(program, line.App)
	var all func(path string, commands []*cli.Command)
	all = func(path string, commands []*cli.Command) {
		for _, command := range commands {
			path := path + " " + command.Name
			command.OnUsageError = func(_ *cli.Context, err error, _ bool) error {
				return fmt.Errorf("%w: %w; see %s --help", errUsage, err, path)
			}
			if len(command.Subcommands) > 0 && command.Action == nil {
				command.Action = unknown(path, line.Command)
			}
			all(path, command.Subcommands)
		}
	}
	all(program, app.Commands)
}

// unknown is the action for a missing or unknown command.
func unknown(path string, help func(*cli.Context) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.Args().Present() {
			return fmt.Errorf("%w: there is no command %q; see %s --help", errUsage, c.Args().First(), path)
		}
		return help(c)
	}
}

func run(c *cli.Context) error {
	if c.Args().Present() {
		return fmt.Errorf("%w: run takes no arguments, got %q", errUsage, c.Args().First())
	}
	if d := c.Duration("silent-after"); d < minSilent {
		return fmt.Errorf("%w: --silent-after %s is too short: nodes renew their Leases every 2 min, give or take a fifth; at least %s", errUsage, d, minSilent)
	}
	log, err := newLogger(c.App.ErrWriter, c.String("log-level"), c.String("log-format"))
	if err != nil {
		return err
	}
	byJobs, err := jobOptions(c)
	if err != nil {
		return err
	}
	brake := rollout.Options{Max: c.String("rollout-max"), StopAfter: c.Int("rollout-stop-after"), Patience: c.Duration("rollout-patience")}
	if err := brake.Check(); err != nil {
		return fmt.Errorf("%w: reading --rollout-max and --rollout-stop-after: %w", errUsage, err)
	}
	if brake.Patience < time.Minute {
		return fmt.Errorf("%w: --rollout-patience %s is too short: at least 1m", errUsage, brake.Patience)
	}
	duty, err := bridge.ParseDuty(c.String("duty"))
	if err != nil {
		return fmt.Errorf("%w: reading --duty: %w", errUsage, err)
	}
	bridge.LogLibraries(log)
	cfg, err := restConfig(c.String("kubeconfig"))
	if err != nil {
		return fmt.Errorf("reading kubeconfig: %w", err)
	}
	cfg.UserAgent = "multinic-bridge/" + version
	log.Info("starting", "version", version, "duty", string(duty), "api", cfg.Host)
	return bridge.Run(c.Context, cfg, bridge.Options{
		Log:            log,
		Duty:           duty,
		LeaderElect:    c.Bool("leader-elect"),
		HealthAddress:  c.String("health-address"),
		MetricsAddress: c.String("metrics-address"),
		PprofAddress:   c.String("pprof-address"),
		SilentAfter:    c.Duration("silent-after"),
		Jobs:           byJobs,
		Rollout:        brake,
		NodeLabel:      c.Bool("node-label"),
	})
}

// minSilent is a little more than two renewals of a Lease. With less, every node would seem silent
// now and then.
const minSilent = 5 * time.Minute

func jobOptions(c *cli.Context) (jobs.Options, error) {
	o := jobs.Options{Image: c.String("job-image"), Deadline: c.Duration("job-deadline")}
	var err error
	switch o.Execution, err = jobs.ParseExecution(c.String("execution")); {
	case err != nil:
		return o, fmt.Errorf("%w: reading --execution: %w", errUsage, err)
	case o.Execution != jobs.ExecutionDaemon && o.Image == "":
		return o, fmt.Errorf("%w: --execution %s takes --job-image", errUsage, o.Execution)
	case o.Deadline < time.Minute:
		return o, fmt.Errorf("%w: --job-deadline %s is too short: at least 1m", errUsage, o.Deadline)
	}
	return o, nil
}

func restConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		cfg, err := rest.InClusterConfig()
		if errors.Is(err, rest.ErrNotInCluster) {
			err = errors.New("this is no Pod: name a file with --kubeconfig")
		}
		return cfg, err
	}
	return clientcmd.BuildConfigFromFlags("", kubeconfig)
}

func newLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("%w: --log-level %q is none of debug, info, warn and error", errUsage, level)
	}
	o := &slog.HandlerOptions{Level: l}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	}
	return nil, fmt.Errorf("%w: --log-format %q is neither json nor text", errUsage, format)
}
