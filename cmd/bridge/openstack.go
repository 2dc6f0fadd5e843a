package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"multinicd/internal/bridge"
	"multinicd/internal/openstack"
)

// openstackEnv is the environment variable of a flag of the publisher for OpenStack.
func openstackEnv(name string) []string { return []string{"MULTINIC_OPENSTACK_" + name} }

func openstackCommand() *cli.Command {
	asking, rules := cloudFlags(), ruleFlags()
	cluster := &cli.StringFlag{
		Name: "kubeconfig", EnvVars: openstackEnv("KUBECONFIG"),
		Usage: "`FILE` that says how to reach the API server; absent: the Pod's own credential",
	}
	return &cli.Command{
		Name:  "openstack",
		Usage: "write objects of the ports that Neutron has for the instances of the cluster (docs/openstack.md)",
		Description: "It runs until it is told to stop. plan prints what would be written. check asks the cloud for what is needed,\n" +
			"and names what is missing. Only ports that the allow list or the tag multinic.io/enabled gives are managed.",
		Action: runOpenStack,
		Flags: slices.Concat([]cli.Flag{cluster}, asking, rules, []cli.Flag{
			&cli.DurationFlag{
				Name: "interval", EnvVars: openstackEnv("INTERVAL"), Value: 30 * time.Second,
				Usage: "pause between two walks through the ports, give or take a fifth",
			},
		}, publisherFlags(openstackEnv, "")),
		Subcommands: []*cli.Command{
			{
				Name: "plan", Usage: "print what would be written, and why a port is left out; write nothing", Action: planOpenStack,
				Flags: slices.Concat([]cli.Flag{cluster}, asking, rules),
			},
			{
				Name: "check", Usage: "ask the cloud for all that is needed, and name what is missing", Action: checkOpenStack,
				Flags: asking,
			},
		},
	}
}

// cloudFlags say how the cloud is asked.
func cloudFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Name: "clouds-file", EnvVars: openstackEnv("CLOUDS_FILE"), Value: "/etc/openstack/clouds.yaml",
			Usage: "`FILE` with the credentials, read again before each walk",
		},
		&cli.StringSliceFlag{
			Name: "cloud", EnvVars: openstackEnv("CLOUD"),
			Usage: "`NAME` of an entry of that file; give it several times for several projects or clouds",
		},
		&cli.StringSliceFlag{
			Name: "project", EnvVars: openstackEnv("PROJECT"),
			Usage: "`ID` of a project whose ports count; absent: the project of each credential",
		},
		&cli.DurationFlag{
			Name: "timeout", EnvVars: openstackEnv("TIMEOUT"), Value: 30 * time.Second,
			Usage: "how long the cloud may take to answer one request",
		},
		&cli.IntFlag{
			Name: "page-size", EnvVars: openstackEnv("PAGE_SIZE"), Value: 200,
			Usage: "ask for at most so many `PORTS` at once",
		},
	}
}

// ruleFlags say which ports are managed, and how.
func ruleFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{
			Name: "network", EnvVars: openstackEnv("NETWORK"),
			Usage: "manage the ports of the network with this `ID`",
		},
		&cli.StringSliceFlag{
			Name: "subnet", EnvVars: openstackEnv("SUBNET"),
			Usage: "manage the ports with an address of the subnet with this `ID`",
		},
		&cli.StringSliceFlag{
			Name: "tag", EnvVars: openstackEnv("TAG"),
			Usage: "manage the ports that have this `TAG`, beside those with multinic.io/enabled",
		},
		&cli.StringFlag{
			Name: "provider", EnvVars: openstackEnv("PROVIDER"), Value: "openstack",
			Usage: "spec.providerId of new objects",
		},
		&cli.BoolFlag{
			Name: "mtu", EnvVars: openstackEnv("MTU"), Value: true,
			Usage: "write the MTU of the network",
		},
		&cli.BoolFlag{
			Name: "gateway", EnvVars: openstackEnv("GATEWAY"),
			Usage: "write the gateway of the subnet: the NIC gets a routing table of its own",
		},
		&cli.BoolFlag{
			Name: "host-routes", EnvVars: openstackEnv("HOST_ROUTES"),
			Usage: "write the host routes of the subnet, except default routes and the metadata service's",
		},
		&cli.DurationFlag{
			Name: "removal-age", EnvVars: openstackEnv("REMOVAL_AGE"), Value: time.Minute,
			Usage: "how long a port has to be gone until its NIC goes, in two walks at least",
		},
	}
}

// openstackOptions reads the flags of a command of openstack; those that the command has not got are
// zero.
func openstackOptions(c *cli.Context) (openstack.Options, error) {
	o := openstack.Options{
		CloudsFile: c.String("clouds-file"), Clouds: c.StringSlice("cloud"), Projects: c.StringSlice("project"),
		Interval: c.Duration("interval"), Timeout: c.Duration("timeout"), PageSize: c.Int("page-size"), Agent: "multinic-openstack/" + version,
		HealthAddress: c.String("health-address"), MetricsAddress: c.String("metrics-address"),
		Rules: openstack.Rules{
			Networks: c.StringSlice("network"), Subnets: c.StringSlice("subnet"), Tags: c.StringSlice("tag"), Provider: c.String("provider"),
			MTU: c.Bool("mtu"), Gateway: c.Bool("gateway"), HostRoutes: c.Bool("host-routes"), RemovalAge: c.Duration("removal-age"),
		},
	}
	wrong := ""
	switch {
	case c.Args().Present():
		wrong = fmt.Sprintf("%s takes no arguments, got %q", c.Command.Name, c.Args().First())
	case len(o.Clouds) == 0:
		wrong = "--cloud is missing: name an entry of " + o.CloudsFile
	case o.Timeout <= 0 || o.PageSize < 1:
		wrong = "--timeout and --page-size are more than 0"
	case c.Command.Name == "openstack" && o.Interval < time.Second:
		wrong = "--interval is 1s at least"
	case c.Command.Name != "check" && o.Rules.Provider == "":
		wrong = "--provider is empty"
	}
	if wrong != "" {
		return o, fmt.Errorf("%w: %s", errUsage, wrong)
	}
	return o, nil
}

func runOpenStack(c *cli.Context) error {
	o, err := openstackOptions(c)
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
	cfg.UserAgent = o.Agent
	o.Log.Info("starting", "version", version, "api", cfg.Host)
	return openstack.Run(c.Context, cfg, o)
}

func planOpenStack(c *cli.Context) error {
	o, err := openstackOptions(c)
	if err != nil {
		return err
	}
	cfg, err := restConfig(c.String("kubeconfig"))
	if err != nil {
		return fmt.Errorf("reading kubeconfig: %w", err)
	}
	cfg.UserAgent = o.Agent
	return openstack.Plan(c.Context, cfg, o, c.App.Writer)
}

func checkOpenStack(c *cli.Context) error {
	o, err := openstackOptions(c)
	if err != nil {
		return err
	}
	return openstack.Check(c.Context, o, c.App.Writer)
}
