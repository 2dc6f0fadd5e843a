package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"multinicd/examples"
)

// printJoin gives the administrator what was made: the join file, or user data made of a template,
// in a file or on standard output.
func printJoin(c *cli.Context, template string, join examples.Join) error {
	path := c.String("output-file")
	if template == "" && path != "" {
		if err := writeSecret(path, join.File); err != nil {
			return err
		}
		_, err := fmt.Fprintf(c.App.Writer, "%s is good for one join of node %s, until %s. It holds a secret. On the machine:\n\n  %s\n",
			path, join.Node, join.Expires.Local().Format(time.RFC3339), joinLine(join.Server, filepath.Base(path), join.CAHash))
		return err
	}
	text, err := join.Fill(cmp.Or(template, examples.JoinToken))
	if err != nil {
		return err
	}
	if path != "" {
		if err := writeSecret(path, []byte(text)); err != nil {
			return err
		}
		_, err := fmt.Fprintf(c.App.Writer, "%s is user data, good for one join of node %s, until %s. It holds a secret: until the machine has joined, whoever reads its user data can join in its place.\n",
			path, join.Node, join.Expires.Local().Format(time.RFC3339))
		return err
	}
	fmt.Fprintln(c.App.ErrWriter, "What follows contains the join token: keep it as you keep a password, or use --output-file.")
	_, err = fmt.Fprint(c.App.Writer, text)
	return err
}

// readTemplate reads a template, and tries it before there is a token. It is "" if none is named.
func readTemplate(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading the template: %w", err)
	}
	trial := examples.Join{Node: "node", Server: "https://server", CAHash: "hash"}
	if _, err := trial.Fill(string(text)); err != nil {
		return "", fmt.Errorf("reading %s: %w", path, err)
	}
	return string(text), nil
}

// writeSecret replaces a file by one of mode 0600.
func writeSecret(path string, data []byte) (err error) {
	// 0600 from the start
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing %s: %w", path, errors.Join(err, temp.Close(), os.Remove(temp.Name())))
		}
	}()
	if _, err := temp.Write(data); err != nil {
		return err
	}
	if err := temp.Sync(); err != nil {
		return err
	}
	return errors.Join(os.Rename(temp.Name(), path), temp.Close())
}
