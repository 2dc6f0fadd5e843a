package main

import (
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"multinicd/internal/legacy"
)

// maxWorld bounds a file with the objects of a cluster, in bytes. A Node has some 10 KiB.
const maxWorld = 256 << 20

func migrateCommand() *cli.Command {
	return &cli.Command{
		Name:  "migrate",
		Usage: "go from the older object, MultiNicBizConfig, to an object for each node (docs/migration.md)",
		Subcommands: []*cli.Command{
			{
				Name: "plan", Usage: "print what becomes of each node, what is refused and why, and what is lost; change nothing",
				Description: "It reads a FILE and asks no cluster. The file has the older objects and, if they are to count, the Nodes and the\n" +
					"objects of nodes: kubectl get nodes,mnnc,mnbc -n multinic-system -o yaml --show-managed-fields prints such a file.\n" +
					"Without Nodes an entry is about the node that it names.",
				Action: planMigration,
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "`FILE` with the objects, YAML or JSON; - is standard input"},
					&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "table", Usage: "table or json"},
				},
			},
			preflightCommand(),
			storageCommand(),
		},
	}
}

func planMigration(c *cli.Context) error {
	output := c.String("output")
	switch {
	case c.Args().Present():
		return fmt.Errorf("%w: plan takes no arguments, got %q", errUsage, c.Args().First())
	case output != "table" && output != "json":
		return fmt.Errorf("%w: --output %q is neither table nor json", errUsage, output)
	case c.String("file") == "":
		return fmt.Errorf("%w: --file is missing: name a file with the older objects, or - for standard input", errUsage)
	}
	w, lost, err := readWorld(c.String("file"))
	if err != nil {
		return err
	}
	p := w.Plan(lost)
	if output == "json" {
		return p.JSON(c.App.Writer)
	}
	return p.Table(c.App.Writer)
}

func readWorld(name string) (legacy.World, []string, error) {
	in, shown := io.Reader(os.Stdin), "standard input"
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return legacy.World{}, nil, fmt.Errorf("reading the objects: %w", err)
		}
		defer f.Close()
		in, shown = f, name
	}
	text, err := io.ReadAll(io.LimitReader(in, maxWorld+1))
	if err == nil && len(text) > maxWorld {
		err = fmt.Errorf("larger than %d bytes", maxWorld)
	}
	if err != nil {
		return legacy.World{}, nil, fmt.Errorf("reading %s: %w", shown, err)
	}
	w, lost, err := legacy.Read(text)
	if err != nil {
		return w, nil, fmt.Errorf("reading %s: %w", shown, err)
	}
	return w, lost, nil
}
