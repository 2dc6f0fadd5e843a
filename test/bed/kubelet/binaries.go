package kubelet

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"multinicd/test/bed/artifact"
	"multinicd/test/bed/controlplane"
)

// binDir is where the programs lie on a node.
const binDir = "/opt/node/bin"

// programs are built from the module in module/. The plugins of CNI are there for Pods that have a network of their own.
var programs = []string{
	"github.com/containerd/containerd/v2/cmd/containerd",
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
	"github.com/containerd/containerd/v2/cmd/ctr",
	"github.com/containernetworking/plugins/plugins/main/bridge",
	"github.com/containernetworking/plugins/plugins/main/loopback",
	"github.com/containernetworking/plugins/plugins/ipam/host-local",
}

const runc = "github.com/opencontainers/runc"

// Programs returns a folder that lies over a host's root file system (testhost.Options.Over) with what a node runs: kubelet, containerd,
// runc, CNI plugins. They are built once per version, in about 5 min with a cold build cache.
func Programs(ctx context.Context, logf artifact.Logf) (string, error) {
	kubelet, err := controlplane.Kubelet(ctx, logf)
	if err != nil {
		return "", err
	}
	root, err := artifact.RepositoryRoot()
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "test", "bed", "kubelet", "module")
	version, err := moduleVersion(ctx, module, "github.com/containerd/containerd/v2")
	if err != nil {
		return "", err
	}
	flags := []string{"-trimpath", "-ldflags", "-s -w -X github.com/containerd/containerd/v2/version.Version=" + version}
	parts := append([]string{filepath.Base(kubelet), strings.Join(programs, " ")}, flags...)
	for _, file := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join(module, file))
		if err != nil {
			return "", fmt.Errorf("finding the version of containerd: %w", err)
		}
		parts = append(parts, string(b))
	}
	return artifact.Make(ctx, logf, "node-"+version+"-"+artifact.Key(parts...), func(ctx context.Context, dir string) error {
		bin := filepath.Join(dir, binDir)
		if err := os.MkdirAll(bin, 0o755); err != nil {
			return fmt.Errorf("making %s: %w", bin, err)
		}
		m := artifact.Module{Dir: module, Flags: flags}
		if err := artifact.Build(ctx, m, bin, programs...); err != nil {
			return err
		}
		// Only with it does runc honour the RuntimeDefault of seccomp, and libseccomp is C. Static: the hosts need not have it.
		m.Flags = []string{"-trimpath", "-tags", "seccomp netgo osusergo", "-ldflags", "-s -w -extldflags -static"}
		m.Env = []string{"CGO_ENABLED=1"}
		if err := artifact.Build(ctx, m, bin, runc); err != nil {
			return err
		}
		return copyFile(filepath.Join(kubelet, "kubelet"), filepath.Join(bin, "kubelet"))
	})
}

// Helm returns the path of helm, built from tools/helm (3 min with a cold build cache).
func Helm(ctx context.Context, logf artifact.Logf) (string, error) {
	made.Lock()
	defer made.Unlock()
	if made.helm != "" {
		return made.helm, nil
	}
	helm, err := makeHelm(ctx, logf)
	if err == nil {
		made.helm = helm
	}
	return helm, err
}

func makeHelm(ctx context.Context, logf artifact.Logf) (string, error) {
	root, err := artifact.RepositoryRoot()
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "tools", "helm")
	version, err := moduleVersion(ctx, module, "helm.sh/helm/v4")
	if err != nil {
		return "", err
	}
	sums, err := os.ReadFile(filepath.Join(module, "go.sum"))
	if err != nil {
		return "", fmt.Errorf("finding the version of helm: %w", err)
	}
	dir, err := artifact.Make(ctx, logf, "helm-"+version+"-"+artifact.Key(string(sums)), func(ctx context.Context, dir string) error {
		return artifact.Build(ctx, artifact.Module{Dir: module, Flags: []string{"-trimpath", "-ldflags", "-s -w"}}, dir, "helm.sh/helm/v4/cmd/helm")
	})
	return filepath.Join(dir, "helm"), err
}

// Images are archives as `make image` makes them, for this machine's architecture.
type Images struct {
	// Bridge and Multinicd are files of OCI image layout.
	Bridge, Multinicd string
	// Pause is that of a Pod's own container, which is no product of ours.
	Pause string
}

// made is what this process has made: tests ask for each node, and for each time that they run helm.
var made struct {
	sync.Mutex
	images Images
	helm   string
}

// MakeImages runs `make image` once per process, and makes the image of a Pod's own container in the same way. They are not compressed.
func MakeImages(ctx context.Context) (Images, error) {
	made.Lock()
	defer made.Unlock()
	if made.images != (Images{}) {
		return made.images, nil
	}
	images, err := makeImages(ctx)
	if err == nil {
		made.images = images
	}
	return images, err
}

func makeImages(ctx context.Context) (Images, error) {
	root, err := artifact.RepositoryRoot()
	if err != nil {
		return Images{}, err
	}
	cache, err := artifact.Dir()
	if err != nil {
		return Images{}, err
	}
	version, err := Version()
	if err != nil {
		return Images{}, err
	}
	dist := filepath.Join(cache, "commands-"+artifact.Key(root), "dist")
	pause, err := artifact.BuildCommand(ctx, func(string, ...any) {}, "./test/bed/kubelet/pause")
	if err != nil {
		return Images{}, err
	}
	run := func(name string, args ...string) error {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1764000000")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("running %s %s: %w\n%s", name, strings.Join(args, " "), err, out)
		}
		return nil
	}
	const arch = runtime.GOARCH
	if err := run("make", "--no-print-directory", "image", "DIST="+dist, "GOARCHES="+arch, "XZ_LEVEL=0"); err != nil {
		return Images{}, err
	}
	if err := run("go", "run", "./tools/image", "-level", "0", "-dir", dist, "-name", "localhost/pause", "-tag", "1", "-command", "pause",
		"-licenses", "LICENSE", arch+"="+pause); err != nil {
		return Images{}, err
	}
	in := func(name string) string { return filepath.Join(dist, name+".oci.tar") }
	return Images{Bridge: in("multinic-bridge_" + version), Multinicd: in("multinicd_" + version), Pause: in("pause_1")}, nil
}

// Version is the product's.
func Version() (string, error) {
	root, err := artifact.RepositoryRoot()
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(filepath.Join(root, "VERSION"))
	if err != nil {
		return "", fmt.Errorf("reading the version: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

func moduleVersion(ctx context.Context, dir, path string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", path)
	cmd.Dir, cmd.Env = dir, artifact.GoEnv()
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("finding the version of %s: %w", path, err)
	}
	return strings.TrimSpace(string(out)), nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copying %s: %w", from, err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return fmt.Errorf("copying %s: %w", from, err)
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return fmt.Errorf("copying %s: %w", from, err)
	}
	return out.Close()
}

// podPlugins give a Pod a part of a NIC of its node, or the NIC. They are of the same module, and apart from the programs, which few tests need.
var podPlugins = []string{
	"github.com/containernetworking/plugins/plugins/main/macvlan",
	"github.com/containernetworking/plugins/plugins/main/ipvlan",
	"github.com/containernetworking/plugins/plugins/main/host-device",
	"github.com/containernetworking/plugins/plugins/ipam/static",
}

// PluginDir is where PodPlugins lie on a node.
const PluginDir = "/opt/cni/bin"

// PodPlugins returns a folder that lies over a host's root file system (testhost.Options.Over) with the CNI plugins macvlan, ipvlan, host-device and
// static. They are built once per version, in seconds.
func PodPlugins(ctx context.Context, logf artifact.Logf) (string, error) {
	root, err := artifact.RepositoryRoot()
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "test", "bed", "kubelet", "module")
	version, err := moduleVersion(ctx, module, "github.com/containernetworking/plugins")
	if err != nil {
		return "", err
	}
	m := artifact.Module{Dir: module, Flags: []string{"-trimpath", "-ldflags", "-s -w"}}
	return artifact.Make(ctx, logf, "cni-"+version+"-"+artifact.Key(append(podPlugins, m.Flags...)...), func(ctx context.Context, dir string) error {
		bin := filepath.Join(dir, PluginDir)
		if err := os.MkdirAll(bin, 0o755); err != nil {
			return fmt.Errorf("making %s: %w", bin, err)
		}
		return artifact.Build(ctx, m, bin, podPlugins...)
	})
}
