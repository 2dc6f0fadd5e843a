package main

import (
	"fmt"
	"net/url"

	"github.com/urfave/cli/v2"
	"k8s.io/apimachinery/pkg/labels"

	v1 "multinicd/api/v1"
	"multinicd/internal/web"
)

func webFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "web", Usage: "serve the fleet as a page on 127.0.0.1, for a browser of this machine, until ctrl-c"},
		&cli.IntFlag{Name: "port", Usage: "with --web: `PORT` on 127.0.0.1; absent: any that is free"},
	}
}

// serveFleet prints one line on standard output: the address. All filters except the labels are in
// it, and can be changed in the browser.
func serveFleet(c *cli.Context, selector labels.Selector, states []v1.State) error {
	switch p := c.Int("port"); {
	case !c.Bool("web"):
		return fmt.Errorf("%w: --port goes with --web", errUsage)
	case c.IsSet("output"):
		return fmt.Errorf("%w: fleet --web takes no --output", errUsage)
	case p < 0 || p > 65535:
		return fmt.Errorf("%w: --port %d is no port", errUsage, p)
	}
	filters := url.Values{}
	for _, s := range states {
		filters.Add("state", string(s))
	}
	if reasons := c.StringSlice("reason"); len(reasons) > 1 {
		return fmt.Errorf("%w: fleet --web takes one --reason", errUsage)
	} else if len(reasons) == 1 {
		filters.Set("reason", reasons[0])
	}
	if c.Bool("not-ready") {
		filters.Set("not-ready", "1")
	}
	cfg, err := adminConfig(c.String("kubeconfig"))
	if err != nil {
		return err
	}
	return web.Serve(c.Context, web.Options{Config: cfg, Selector: selector, Port: c.Int("port"), Filters: filters}, func(address string) {
		fmt.Fprintln(c.App.Writer, address)
		fmt.Fprintln(c.App.ErrWriter, "Open this address in a browser of this machine. It holds a secret: who has it, and can reach this machine's loopback,\nsees what you may see. Ctrl-C ends it.")
	})
}
