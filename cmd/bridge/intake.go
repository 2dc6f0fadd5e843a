package main

import (
	"fmt"
	"net"
	"time"

	"github.com/urfave/cli/v2"

	"multinicd/internal/bridge"
	"multinicd/internal/intake"
	"multinicd/internal/publish"
)

// intakeEnv is the environment variable of a flag of the door.
func intakeEnv(name string) []string { return []string{"MULTINIC_INTAKE_" + name} }

func intakeCommand() *cli.Command {
	return &cli.Command{
		Name:   "intake",
		Usage:  "take lists of NICs over HTTP from publishers, and write objects of them (docs/publishers.md)",
		Action: runIntake,
		Flags: append([]cli.Flag{
			&cli.StringFlag{
				Name: "kubeconfig", EnvVars: intakeEnv("KUBECONFIG"),
				Usage: "`FILE` that says how to reach the API server; absent: the Pod's own credential",
			},
			&cli.StringFlag{
				Name: "address", EnvVars: intakeEnv("ADDRESS"), Value: ":8443",
				Usage: "`HOST:PORT` at which publishers are served",
			},
			&cli.StringFlag{
				Name: "tls-cert-file", EnvVars: intakeEnv("TLS_CERT_FILE"),
				Usage: "`FILE` with the certificate, PEM, read again when it changes",
			},
			&cli.StringFlag{
				Name: "tls-key-file", EnvVars: intakeEnv("TLS_KEY_FILE"),
				Usage: "`FILE` with its key",
			},
			&cli.BoolFlag{
				Name: "plain-http", EnvVars: intakeEnv("PLAIN_HTTP"),
				Usage: "serve without TLS: whoever sees the packets can read the tokens in them",
			},
			&cli.StringFlag{
				Name: "client-ca-file", EnvVars: intakeEnv("CLIENT_CA_FILE"),
				Usage: "take clients' certificates that a CA in this `FILE` has signed; the user is multinic-publisher:<common name>",
			},
			&cli.BoolFlag{
				Name: "allow-anonymous", EnvVars: intakeEnv("ALLOW_ANONYMOUS"),
				Usage: "let clients publish that do not say who they are: only where nobody else reaches the address",
			},
			&cli.StringFlag{
				Name: "removals", EnvVars: intakeEnv("REMOVALS"), Value: string(publish.RemovalsKeep),
				Usage: "what a list means for a NIC that it has not got: keep it; apply: it goes, unless it is the node's last; all: it goes",
			},
			&cli.StringFlag{
				Name: "unknown-nodes", EnvVars: intakeEnv("UNKNOWN_NODES"), Value: unknownWait,
				Usage: "what becomes of a machine that is no Node: wait, until it is one; publish, under the name that the client gives",
			},
			&cli.Float64Flag{
				Name: "rate", EnvVars: intakeEnv("RATE"), Value: 5,
				Usage: "at most so many `REQUESTS` a second of one publisher",
			},
			&cli.IntFlag{
				Name: "burst", EnvVars: intakeEnv("BURST"), Value: 20,
				Usage: "and so many `REQUESTS` at once",
			},
			&cli.IntFlag{
				Name: "max-nodes", EnvVars: intakeEnv("MAX_NODES"), Value: 4000,
				Usage: "at most so many `NODES` in one request",
			},
			&cli.DurationFlag{
				Name: "body-timeout", EnvVars: intakeEnv("BODY_TIMEOUT"), Value: 15 * time.Second,
				Usage: "how long a request's body may take to come",
			},
			&cli.DurationFlag{
				Name: "timeout", EnvVars: intakeEnv("TIMEOUT"), Value: 25 * time.Second,
				Usage: "how long a whole request may take; the clients in the field wait 30s",
			},
		}, publisherFlags(intakeEnv, "; the line of each request is info")...),
	}
}

// The words of --unknown-nodes.
const unknownWait, unknownPublish = "wait", "publish"

func runIntake(c *cli.Context) error {
	if c.Args().Present() {
		return fmt.Errorf("%w: intake takes no arguments, got %q", errUsage, c.Args().First())
	}
	o, err := intakeOptions(c)
	if err != nil {
		return err
	}
	if o.Log, err = newLogger(c.App.ErrWriter, c.String("log-level"), c.String("log-format")); err != nil {
		return err
	}
	bridge.LogLibraries(o.Log)
	cfg, err := restConfig(c.String("kubeconfig"))
	if err != nil {
		return fmt.Errorf("reading kubeconfig: %w", err)
	}
	cfg.UserAgent = "multinic-intake/" + version
	if o.Listener, err = new(net.ListenConfig).Listen(c.Context, "tcp", c.String("address")); err != nil {
		return fmt.Errorf("opening the door: %w", err)
	}
	defer o.Listener.Close()
	o.Log.Info("starting", "version", version, "api", cfg.Host)
	return intake.Run(c.Context, cfg, o)
}

// intakeOptions reads the flags that say how publishers are served.
func intakeOptions(c *cli.Context) (intake.Options, error) {
	o := intake.Options{
		CertFile: c.String("tls-cert-file"), KeyFile: c.String("tls-key-file"), ClientCAFile: c.String("client-ca-file"),
		Anonymous: c.Bool("allow-anonymous"), HealthAddress: c.String("health-address"), MetricsAddress: c.String("metrics-address"),
		Removals: publish.Removals(c.String("removals")), Unknown: c.String("unknown-nodes") == unknownPublish,
		Rate: c.Float64("rate"), Burst: c.Int("burst"), MaxNodes: c.Int("max-nodes"),
		BodyTime: c.Duration("body-timeout"), Time: c.Duration("timeout"),
	}
	wrong := ""
	switch plain := c.Bool("plain-http"); {
	case (o.CertFile == "") != (o.KeyFile == ""):
		wrong = "--tls-cert-file and --tls-key-file go together"
	case o.CertFile == "" && !plain:
		wrong = "give --tls-cert-file and --tls-key-file, or --plain-http"
	case o.CertFile != "" && plain:
		wrong = "--plain-http and --tls-cert-file exclude each other"
	case o.ClientCAFile != "" && plain:
		wrong = "--client-ca-file needs --tls-cert-file"
	case o.Removals != publish.RemovalsKeep && o.Removals != publish.RemovalsApply && o.Removals != publish.RemovalsAll:
		wrong = fmt.Sprintf("--removals %q is none of keep, apply and all", o.Removals)
	case !o.Unknown && c.String("unknown-nodes") != unknownWait:
		wrong = fmt.Sprintf("--unknown-nodes %q is neither wait nor publish", c.String("unknown-nodes"))
	case !(o.Rate > 0) || o.Burst < 1 || o.MaxNodes < 1:
		wrong = "--rate, --burst and --max-nodes are more than 0"
	case o.BodyTime <= 0 || o.Time < o.BodyTime:
		wrong = "--body-timeout is more than 0, and --timeout not less than it"
	}
	if wrong != "" {
		return o, fmt.Errorf("%w: %s", errUsage, wrong)
	}
	return o, nil
}

// publisherFlags are those of each publisher that runs until it is told to stop: where it can be
// asked how it is, and what it logs. levels goes on with what is said of log-level.
func publisherFlags(env func(name string) []string, levels string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Name: "health-address", EnvVars: env("HEALTH_ADDRESS"), Value: ":8081",
			Usage: "`HOST:PORT` of /healthz and /readyz; 0 serves none",
		},
		&cli.StringFlag{
			Name: "metrics-address", EnvVars: env("METRICS_ADDRESS"), Value: ":8080",
			Usage: "`HOST:PORT` of /metrics; 0 serves none",
		},
		&cli.StringFlag{
			Name: "log-level", EnvVars: env("LOG_LEVEL"), Value: "info",
			Usage: "debug, info, warn or error" + levels,
		},
		&cli.StringFlag{
			Name: "log-format", EnvVars: env("LOG_FORMAT"), Value: "json",
			Usage: "json or text",
		},
	}
}
