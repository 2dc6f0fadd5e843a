package packages

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/installed"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/product"
	"multinicd/test/bed/testhost"
)

// The main job from end to end by the package, its unit and no other: an object of the cluster becomes configured NICs, a change of it too, and
// both outlive a kill and a boot without the API server. `make test-packaged` shows all the rest so.
func TestThePackageDoesTheMainJob(t *testing.T) {
	example, err := os.ReadFile(bed.Path(t, "examples/worker-node-01.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, suite := range append([]string{"trixie"}, prerequisite.Long("bookworm")...) {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			build(t)
			b := bed.New(t)
			c := installed.NewCluster(t, b)
			name := "packaged-" + suite
			n := installed.On(t, b.HostWith(testhost.Options{Suite: suite, Name: name, NICs: bed.NICs(nodeMACs...)}))
			deb := filepath.Join(built.dir, "multinicd_"+built.this+"_amd64.deb")
			if err := n.InstallPackage(t.Context(), deb, installed.Settings(name, "", "fast")); err != nil {
				t.Fatal(err)
			}
			if err := product.Join(t.Context(), c.Cluster, n.Host, name, b.API().URL()); err != nil {
				t.Fatal(err)
			}
			if err := n.StartDaemon(t.Context()); err != nil {
				t.Fatal(err)
			}
			object := strings.ReplaceAll(string(example), "worker-node-01", name)
			want := func(what, first string) {
				t.Helper()
				bed.Eventually(t, what+": NICs", first+"\n"+nodeAddresses[1]+"/24", func() string {
					out, err := n.Shell(t.Context(), "ip -br -4 address | awk '/^multinic/ {print $3}'")
					if err != nil {
						return err.Error()
					}
					return strings.TrimSpace(out)
				})
				bed.Eventually(t, what+": status", "multinic1 Configured Configured, multinic2 Configured Configured", n.NICs)
			}
			status := func() string {
				out, err := c.Print(t.Context(), installed.Path(name), "{.status.state} {.status.readyInterfaces} of {.metadata.generation}: {.status.observedGeneration}")
				if err != nil {
					return err.Error()
				}
				return out
			}
			c.Want(object)
			want("the example", nodeAddresses[0]+"/24")
			bed.Eventually(t, "the object", "Configured 2/2 of 1: 1", status)
			c.Want(strings.ReplaceAll(object, nodeAddresses[0], "192.168.100.77"))
			want("another address", "192.168.100.77/24")
			bed.Eventually(t, "the object after a change", "Configured 2/2 of 2: 2", status)
			if err := n.KillDaemon(t.Context()); err != nil {
				t.Fatal(err)
			}
			want("after a kill", "192.168.100.77/24")
			b.API().Cut(n.Host)
			if err := n.Reboot(t.Context()); err != nil {
				t.Fatal(err)
			}
			want("after a boot without the API server", "192.168.100.77/24")
		})
	}
}
