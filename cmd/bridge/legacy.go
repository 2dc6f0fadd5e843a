package main

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"multinicd/internal/bridge"
	"multinicd/internal/legacy"
)

// legacyEnv is the environment variable of a flag of the publisher of the older object.
func legacyEnv(name string) []string { return []string{"MULTINIC_LEGACY_" + name} }

func legacyCommand() *cli.Command {
	return &cli.Command{
		Name:  "legacy",
		Usage: "write objects of the older object, MultiNicBizConfig, and its status of theirs (docs/migration.md)",
		Description: "It runs until it is told to stop. An object of a node that somebody else owns, or wrote last, stays as it is; the\n" +
			"older object's status says so. No object is deleted.",
		Action: runLegacy,
		Flags: append([]cli.Flag{
			&cli.StringFlag{
				Name: "kubeconfig", EnvVars: legacyEnv("KUBECONFIG"),
				Usage: "`FILE` that says how to reach the API server; absent: the Pod's own credential",
			},
			&cli.BoolFlag{
				Name: "read-only", EnvVars: legacyEnv("READ_ONLY"),
				Usage: "write the status alone, and no object of a node",
			},
			&cli.DurationFlag{
				Name: "status-interval", EnvVars: legacyEnv("STATUS_INTERVAL"), Value: 5 * time.Second,
				Usage: "least pause between two writes of an older object's status, which has all nodes",
			},
		}, publisherFlags(legacyEnv, "")...),
	}
}

func runLegacy(c *cli.Context) error {
	o := legacy.Options{
		ReadOnly: c.Bool("read-only"), StatusInterval: c.Duration("status-interval"),
		HealthAddress: c.String("health-address"), MetricsAddress: c.String("metrics-address"),
	}
	switch {
	case c.Args().Present():
		return fmt.Errorf("%w: legacy takes no arguments, got %q", errUsage, c.Args().First())
	case o.StatusInterval < 0:
		return fmt.Errorf("%w: --status-interval is not less than 0", errUsage)
	}
	var err error
	if o.Log, err = newLogger(c.App.ErrWriter, c.String("log-level"), c.String("log-format")); err != nil {
		return err
	}
	bridge.LogLibraries(o.Log)
	cfg, err := restConfig(c.String("kubeconfig"))
	if err != nil {
		return fmt.Errorf("reading kubeconfig: %w", err)
	}
	cfg.UserAgent = "multinic-legacy/" + version
	o.Log.Info("starting", "version", version, "api", cfg.Host)
	return legacy.Run(c.Context, cfg, o)
}
