package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"multinicd/internal/storageversion"
	"multinicd/internal/terminal"
)

// ourCRDs are the CRDs whose objects may be stored in an older version.
var ourCRDs = []string{"multinicnodeconfigs.multinic.io", "multinicbizconfigs.multinic.io", "multinicnoderuns.multinic.io", "nodetokenrequests.multinic.io"}

// errLeft: objects are still stored as they were.
var errLeft = errors.New("some objects are still stored in an older version")

func storageCommand() *cli.Command {
	return &cli.Command{
		Name: "storage", Usage: "write stored objects anew in the version of today, so that an older one can go",
		Description: "For a cluster whose CRDs came from somebody else, or from an older version: once ours are in their place, new objects\n" +
			"are stored as v1, and old ones as before until somebody writes them. This writes each of them as it is: neither meaning,\n" +
			"generation nor status changes, and no node notices. It then says in status.storedVersions of the CRD that v1 alone is\n" +
			"stored. It may be broken off and run again. Run it a minute after the CRDs were changed, so that every API server knows.",
		Action: migrateStorage,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "kubeconfig", Usage: "`FILE` that says how to reach the API server; absent: $KUBECONFIG, then ~/.kube/config, then the Pod's own credential"},
			&cli.BoolFlag{Name: "dry-run", Usage: "count, and change nothing"},
		},
	}
}

func migrateStorage(c *cli.Context) error {
	if c.Args().Present() {
		return fmt.Errorf("%w: storage takes no arguments, got %q", errUsage, c.Args().First())
	}
	a, err := newAdmin(c.String("kubeconfig"))
	if err != nil {
		return err
	}
	left := 0
	for _, crd := range ourCRDs {
		r, err := storageversion.Migrate(c.Context, a.client, crd, c.Bool("dry-run"))
		if apierrors.IsNotFound(err) {
			fmt.Fprintln(c.App.Writer, crd+": is not there")
			continue
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(c.App.Writer, storageLine(r, c.Bool("dry-run")))
		for _, l := range r.Left {
			fmt.Fprintln(c.App.Writer, "  left "+terminal.Line(l, 1000))
		}
		left += len(r.Left)
	}
	if left > 0 {
		return fmt.Errorf("%w: %d; mend or delete them, and run this again", errLeft, left)
	}
	return nil
}

// storageLine is what became of the objects of one CRD.
func storageLine(r storageversion.Result, dry bool) string {
	was := strings.Join(r.Was, ", ")
	switch {
	case r.Done && slices.Equal(r.Was, []string{r.Version}):
		return fmt.Sprintf("%s: all are stored as %s already", r.CRD, r.Version)
	case dry:
		return fmt.Sprintf("%s: %d objects would be written as %s; stored are %s", r.CRD, r.Seen, r.Version, was)
	case r.Done:
		return fmt.Sprintf("%s: %d objects, %d of them written now, are stored as %s; before it was %s", r.CRD, r.Seen, r.Written, r.Version, was)
	}
	return fmt.Sprintf("%s: %d of %d objects written as %s; stored are still %s", r.CRD, r.Written, r.Seen, r.Version, was)
}
