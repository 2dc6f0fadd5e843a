package bed

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"testing"

	"multinicd/test/bed/controlplane"
	"multinicd/test/bed/sandbox"
)

// shared is the control plane of all tests of a package.
var shared sharedCluster

type sharedCluster struct {
	on bool // set before the tests run

	once sync.Once
	box  *sandbox.Sandbox
	c    *controlplane.Cluster
	err  error
}

// atOnce is how many parallel tests of a package run at a time where the command line says nothing: hosts boot, settle and time out, and their
// tests wait for them most of the time.
const atOnce = "4"

// gcPercent is GOGC of the tests' own processes, which decode much and keep little. What they start does not inherit it.
const gcPercent = 400

// Main is for a package's TestMain, `os.Exit(bed.Main(m))`: its tests then share one control plane, which is
// started by the first that asks for it. Each has to use nodes of its own names. What runs beside it for all of
// them is ended by the functions in first, before it.
func Main(m *testing.M, first ...func() error) int {
	shared.on = true
	flag.Parse()
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "test.parallel" })
	if !said {
		if err := flag.Set("test.parallel", atOnce); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	others, err := skipped(os.Getenv(PartVariable), ".")
	if err == nil && others != "" {
		err = flag.Set("test.skip", others)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	debug.SetGCPercent(gcPercent)
	code := m.Run()
	for _, end := range first {
		if err := end(); err != nil {
			fmt.Fprintln(os.Stderr, "cleaning up:", err)
			code = 1
		}
	}
	for _, box := range []*sandbox.Sandbox{shared.box, sharedOpenStack.box} {
		if box == nil {
			continue
		}
		if err := box.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "cleaning up:", err)
			code = 1
		}
	}
	return code
}

func (s *sharedCluster) cluster(t testing.TB) (*controlplane.Cluster, error) {
	s.once.Do(func() {
		s.box, s.err = sandbox.New(context.Background(), func(format string, args ...any) {
			fmt.Fprintf(os.Stderr, format+"\n", args...)
		})
		if s.err != nil {
			return
		}
		s.c, s.err = start(t, s.box, controlplane.Options{})
	})
	return s.c, s.err
}
