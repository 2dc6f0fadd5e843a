// Command progress shows on a terminal how far a part of make has come: `COMMAND | progress -total 2 packages`.
//
// In go the lines of a command, and the words that say what it does. Out come the same lines, and on a standard error that is a terminal one line with
// the time and, if -total is given, how many lines of so many have come.
//
// It must not change what is piped on, and without a terminal it prints nothing of its own.
//
// Start reading at pass.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"multinicd/internal/terminal"
)

func main() {
	total := flag.Int("total", 0, "how many lines come if all goes well; 0: not known")
	flag.Parse()
	if err := pass(os.Stdin, os.Stdout, os.Stderr, *total, strings.Join(flag.Args(), " ")); err != nil {
		fmt.Fprintln(os.Stderr, "progress:", err)
		os.Exit(1)
	}
}

func pass(in io.Reader, out, screen io.Writer, total int, what string) error {
	far := terminal.NewProgress(screen, what)
	defer far.End()
	far.Set(0, total, "")
	var failed error
	lines, done := bufio.NewScanner(in), 0
	for lines.Scan() && failed == nil {
		done++
		far.Above(func() { _, failed = fmt.Fprintln(out, lines.Text()) })
		if total > 0 {
			far.Set(done, total, path.Base(lines.Text()))
		}
	}
	if failed != nil {
		return fmt.Errorf("passing on a line: %w", failed)
	}
	return lines.Err()
}
