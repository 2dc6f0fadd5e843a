// Package migration is the commands below `multinic-bridge migrate` that go from the older object to
// an object for each node.
//
// In go flags, files and a way to the cluster; out come tables, JSON and the progress of what takes
// longer. What the commands do is in internal/legacy/migrate: nothing is decided here.
//
// Start reading at Command.
package migration

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multinicd/internal/bridge/rollout"
	"multinicd/internal/legacy"
	"multinicd/internal/legacy/migrate"
)

// maxWorld bounds a file with the objects of a cluster, in bytes. A Node has some 10 KiB.
const maxWorld = 256 << 20

// The flags that several of the commands have.
var (
	kubeconfigFlag = &cli.StringFlag{Name: "kubeconfig", Usage: "`FILE` that says how to reach the API server; absent: $KUBECONFIG, then ~/.kube/config, then the Pod's own credential"}
	outputFlag     = &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "table", Usage: "table or json"}
	dryFlag        = &cli.BoolFlag{Name: "dry-run", Usage: "say what would be done, and change nothing"}
	folderFlag     = &cli.StringFlag{Name: "folder", Aliases: []string{"d"}, Usage: "`FOLDER` of the files"}
)

// Env is what the commands need of the program.
type Env struct {
	// Usage is wrapped by the errors of a wrong command line.
	Usage error
	// Connect gives a way to the API server, by a kubeconfig or what stands for none.
	Connect func(kubeconfig string) (client.Client, error)
}

// Command is `migrate`, with more commands below it.
func (e Env) Command(more ...*cli.Command) *cli.Command {
	return &cli.Command{
		Name:  "migrate",
		Usage: "go from the older object, MultiNicBizConfig, to an object for each node (docs/migration.md)",
		Subcommands: append([]*cli.Command{
			{
				Name: "plan", Usage: "print what becomes of each node, what is refused and why, and what is lost; change nothing",
				Description: "It reads the cluster, or with --file a FILE, and asks no cluster then. The file has the older objects and, if they\n" +
					"are to count, the Nodes and the objects of nodes:\n" +
					"kubectl get nodes,mnnc,mnbc -n multinic-system -o yaml --show-managed-fields prints such a file.\n" +
					"In a file without Nodes an entry is about the node that it names.",
				Action: e.planMigration,
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "`FILE` with the objects, YAML or JSON; - is standard input"},
					outputFlag, kubeconfigFlag,
				},
			},
			{
				Name: "export", Usage: "write each object into a file of a folder, and an index; overwrite nothing",
				Description: "The folder gets a file for each object of a node and for each older object, without status, and index.yaml with a\n" +
					"SHA-256 of each. The same cluster gives the same files. A file that is there already and is another one is named.",
				Action: e.exportObjects, Flags: []cli.Flag{folderFlag, kubeconfigFlag},
			},
			{
				Name: "import", Usage: "make the objects of an export that are not there; overwrite nothing",
				Description: "An object that is there already and is another one is named, and stays as it is. Older objects are not made.",
				Action:      e.importObjects, Flags: []cli.Flag{folderFlag, dryFlag, kubeconfigFlag},
			},
			{
				Name: "run", Usage: "hand the objects of nodes over, from the older object to their later owner",
				Description: "An object that is not as its entry says is written first; the others change their owner, and their nodes notice\n" +
					"nothing. Nodes that are missing and entries that are in conflict are skipped and named. The command may be broken\n" +
					"off anywhere, and goes on when it is run again. The Lease multinic-system/multinic-migrate keeps a second one out.",
				Action: e.runMigration,
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "to", Usage: "`PUBLISHER` that has the objects afterwards: multinic-intake, multinic-openstack, or a name for whoever else writes them"},
					&cli.BoolFlag{Name: "as-is", Usage: "hand over also objects whose entries are in conflict, as they are"},
					&cli.StringFlag{Name: "max", Value: "10%", Usage: "at most so many `NODES` change at once: a number, or a percentage (docs/rollout.md)"},
					&cli.IntFlag{Name: "stop-after", Value: 3, Usage: "begin nothing more once so many nodes have failed; 0: never stop"},
					&cli.DurationFlag{Name: "patience", Value: rollout.Patience, Usage: "a node that got a new object and has not settled after so long counts as failed"},
					dryFlag, outputFlag, kubeconfigFlag,
				},
			},
			{
				Name: "verify", Usage: "say for each node: its object, the status of that generation, the kernel as reported; ends with 1 unless all is well",
				Action: e.verifyMigration, Flags: []cli.Flag{outputFlag, kubeconfigFlag},
			},
			{
				Name: "rollback", Usage: "give the objects back to the older object; no NIC changes",
				Description: "An object that the older object would change is skipped and named. It can be called until finish.",
				Action:      e.rollBack, Flags: []cli.Flag{dryFlag, outputFlag, kubeconfigFlag},
			},
			{
				Name: "finish", Usage: "end the migration, if nothing depends on the older object any more; there is no way back then",
				Action: e.finishMigration,
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: "leave-out", Usage: "do not wait for entries that lead to no object of a node"},
					dryFlag, kubeconfigFlag,
				},
			},
		}, more...),
	}
}

// check checks what the commands have in common.
func (e Env) check(c *cli.Context) error {
	output := c.String("output")
	switch {
	case c.Args().Present():
		return fmt.Errorf("%w: %s takes no arguments, got %q", e.Usage, c.Command.Name, c.Args().First())
	case output != "" && output != "table" && output != "json":
		return fmt.Errorf("%w: --output %q is neither table nor json", e.Usage, output)
	}
	return nil
}

// migration is one with a way to the cluster.
func (e Env) migration(c *cli.Context) (*migrate.Migration, error) {
	if err := e.check(c); err != nil {
		return nil, err
	}
	to, err := e.Connect(c.String("kubeconfig"))
	if err != nil {
		return nil, err
	}
	return &migrate.Migration{Client: to, Dry: c.Bool("dry-run")}, nil
}

func (e Env) planMigration(c *cli.Context) error {
	if err := e.check(c); err != nil {
		return err
	}
	var w legacy.World
	var lost []string
	var err error
	if c.IsSet("file") {
		w, lost, err = readWorld(c.String("file"))
	} else {
		w, lost, err = e.world(c)
	}
	if err != nil {
		return err
	}
	p := w.Plan(lost)
	if c.String("output") == "json" {
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

func (e Env) folder(c *cli.Context) (string, error) {
	if c.String("folder") == "" {
		return "", fmt.Errorf("%w: --folder is missing", e.Usage)
	}
	return c.String("folder"), nil
}

// world looks at the cluster.
func (e Env) world(c *cli.Context) (legacy.World, []string, error) {
	m, err := e.migration(c)
	if err != nil {
		return legacy.World{}, nil, err
	}
	return migrate.Look(c.Context, m.Client)
}

func (e Env) exportObjects(c *cli.Context) error {
	to, err := e.folder(c)
	if err != nil {
		return err
	}
	w, _, err := e.world(c)
	if err != nil {
		return err
	}
	written, same, err := migrate.Export(w, to)
	fmt.Fprintf(c.App.Writer, "%d files written, %d were there already\n", written, same)
	return err
}

func (e Env) importObjects(c *cli.Context) error {
	from, err := e.folder(c)
	if err != nil {
		return err
	}
	m, err := e.migration(c)
	if err != nil {
		return err
	}
	objects, err := migrate.ReadExport(from)
	if err != nil {
		return err
	}
	return e.show(c, m, func() ([]migrate.Outcome, error) { return m.Import(c.Context, objects) })
}

func (e Env) runMigration(c *cli.Context) error {
	brake := rollout.Options{Max: c.String("max"), StopAfter: c.Int("stop-after"), Patience: c.Duration("patience")}
	if err := migrate.CheckPublisher(c.String("to")); err != nil {
		return fmt.Errorf("%w: reading --to: %w", e.Usage, err)
	}
	if err := brake.Check(); err != nil {
		return fmt.Errorf("%w: reading --max and --stop-after: %w", e.Usage, err)
	}
	if brake.Patience < time.Second {
		return fmt.Errorf("%w: --patience %s is too short: at least 1s", e.Usage, brake.Patience)
	}
	m, err := e.migration(c)
	if err != nil {
		return err
	}
	m.To, m.AsIs = c.String("to"), c.Bool("as-is")
	m.Limit, m.StopAfter, m.Patience = brake.Limit, brake.StopAfter, brake.Patience
	return e.show(c, m, func() ([]migrate.Outcome, error) { return m.Run(c.Context) })
}

func (e Env) rollBack(c *cli.Context) error {
	m, err := e.migration(c)
	if err != nil {
		return err
	}
	return e.show(c, m, func() ([]migrate.Outcome, error) { return m.Rollback(c.Context) })
}

func (e Env) verifyMigration(c *cli.Context) error {
	w, _, err := e.world(c)
	if err != nil {
		return err
	}
	all := migrate.Verify(w)
	print := migrate.VerifiedTable
	if c.String("output") == "json" {
		print = func(out io.Writer, all []migrate.Verified) error { return migrate.JSON(out, all) }
	}
	if err := print(c.App.Writer, all); err != nil {
		return err
	}
	return migrate.Well(all)
}

func (e Env) finishMigration(c *cli.Context) error {
	m, err := e.migration(c)
	if err != nil {
		return err
	}
	m.LeaveOut = c.Bool("leave-out")
	depends, err := m.Finish(c.Context)
	for _, d := range depends {
		fmt.Fprintln(c.App.Writer, d)
	}
	if err != nil {
		return err
	}
	words := "the migration is finished: nothing depends on the older object. Set legacyMode=off, and delete the older object when nobody reads its status"
	if m.Dry {
		words = "nothing depends on the older object: finish would end the migration"
	}
	_, err = fmt.Fprintln(c.App.Writer, words)
	return err
}

// show does something and prints what became of the nodes, also if it was broken off.
func (e Env) show(c *cli.Context, m *migrate.Migration, do func() ([]migrate.Outcome, error)) error {
	shown := newProgress(c.App.ErrWriter, c.Command.Name)
	if !m.Dry {
		m.Say = shown.say
	}
	all, err := do()
	shown.end()
	if all == nil && err != nil {
		return err
	}
	var printed error
	switch {
	case c.String("output") == "json":
		printed = migrate.JSON(c.App.Writer, all)
	case m.Dry:
		printed = migrate.Table(c.App.Writer, all)
	default:
		migrate.Left(c.App.Writer, all)
		_, printed = fmt.Fprintln(c.App.Writer, migrate.Sum(all))
	}
	return errors.Join(err, printed)
}
