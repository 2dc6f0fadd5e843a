package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"multinicd/test/bed/artifact"
)

// component is one program of the control plane.
type component struct {
	name    string
	pkg     string // its main package, in the module below module/
	builtAs string // what go build calls it, where that is another name
}

// apiServer are the programs without which there is no API; setup-envtest brings no more than these.
var apiServer = []component{
	{"etcd", "go.etcd.io/etcd/server/v3", "server"},
	{"kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", ""},
	{"kubectl", "k8s.io/kubernetes/cmd/kubectl", ""},
}

var controllers = []component{
	{"kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", ""},
	{"kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", ""},
}

// Binaries returns the folder with the control plane's programs: $KUBEBUILDER_ASSETS where that is set, else
// built from the module in module/, once per version (5-10 min with a cold build cache, 25 s with a warm one).
func Binaries(ctx context.Context, logf artifact.Logf) (string, error) {
	return binaries(ctx, logf, true)
}

// APIServerBinaries is Binaries for a cluster without controllers (Options.WithoutControllers), a tenth less to build. Where Binaries
// has built its own folder, it is that one.
func APIServerBinaries(ctx context.Context, logf artifact.Logf) (string, error) {
	return binaries(ctx, logf, false)
}

func binaries(ctx context.Context, logf artifact.Logf, withControllers bool) (string, error) {
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		for _, c := range apiServer {
			if _, err := os.Stat(filepath.Join(dir, c.name)); err != nil {
				return "", fmt.Errorf("using KUBEBUILDER_ASSETS: %w", err)
			}
		}
		return dir, nil
	}
	root, err := artifact.RepositoryRoot()
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "test", "bed", "controlplane", "module")
	name, flags, err := version(ctx, module)
	if err != nil {
		return "", err
	}
	cache, err := artifact.Dir()
	if err != nil {
		return "", err
	}
	name, components, err := choose(cache, name, withControllers)
	if err != nil {
		return "", err
	}
	return artifact.Make(ctx, logf, name, func(ctx context.Context, dir string) error {
		var names, pkgs []string
		for _, c := range components {
			names, pkgs = append(names, c.name), append(pkgs, c.pkg)
		}
		logf("building %s", strings.Join(names, ", "))
		if err := artifact.Build(ctx, artifact.Module{Dir: module, Flags: flags}, dir, pkgs...); err != nil {
			return err
		}
		for _, c := range components {
			if c.builtAs == "" {
				continue
			}
			if err := os.Rename(filepath.Join(dir, c.builtAs), filepath.Join(dir, c.name)); err != nil {
				return fmt.Errorf("naming %s: %w", c.name, err)
			}
		}
		return nil
	})
}

// choose returns the artifact to use, and what to build if it is not there. Whoever needs no controllers takes the whole control plane where that has been
// built already, under its name.
func choose(cache, whole string, withControllers bool) (name string, build []component, err error) {
	if !withControllers {
		_, err := os.Stat(filepath.Join(cache, whole))
		if errors.Is(err, fs.ErrNotExist) {
			return strings.Replace(whole, "controlplane-", "apiserver-", 1), apiServer, nil
		}
		if err != nil {
			return "", nil, fmt.Errorf("looking for the control plane: %w", err)
		}
	}
	return whole, slices.Concat(apiServer, controllers), nil
}

// Kubelet returns the folder with the kubelet that belongs to the control plane, built from the same module (1 min).
func Kubelet(ctx context.Context, logf artifact.Logf) (string, error) {
	root, err := artifact.RepositoryRoot()
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "test", "bed", "controlplane", "module")
	name, flags, err := version(ctx, module)
	if err != nil {
		return "", err
	}
	return artifact.Make(ctx, logf, strings.Replace(name, "controlplane-", "kubelet-", 1), func(ctx context.Context, dir string) error {
		return artifact.Build(ctx, artifact.Module{Dir: module, Flags: flags}, dir, "k8s.io/kubernetes/cmd/kubelet")
	})
}

// version names the artifact after all that decides what is built, and returns the build flags. The bytes of go.mod count: the module
// bears the name of an earlier folder, since under another name everything would be built anew.
func version(ctx context.Context, module string) (name string, flags []string, err error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes")
	cmd.Dir = module
	cmd.Env = artifact.GoEnv()
	out, err := cmd.Output()
	if err != nil {
		return "", nil, fmt.Errorf("finding the version of Kubernetes: %w", err)
	}
	kube := strings.TrimSpace(string(out))
	// The API server behaves as the version it thinks it is; without these it is v0.0.0.
	numbers := strings.Split(strings.TrimPrefix(kube, "v"), ".")
	if len(numbers) < 3 {
		return "", nil, fmt.Errorf("finding the version of Kubernetes: have %q", kube)
	}
	flags = []string{"-trimpath", "-ldflags", strings.Join([]string{
		"-s -w",
		"-X k8s.io/component-base/version.gitVersion=" + kube,
		"-X k8s.io/component-base/version.gitMajor=" + numbers[0],
		"-X k8s.io/component-base/version.gitMinor=" + numbers[1],
		"-X k8s.io/client-go/pkg/version.gitVersion=" + kube,
	}, " ")}
	parts := append([]string{}, flags...)
	for _, file := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join(module, file))
		if err != nil {
			return "", nil, fmt.Errorf("finding the version of the control plane: %w", err)
		}
		parts = append(parts, string(b))
	}
	return "controlplane-" + kube + "-" + artifact.Key(parts...), flags, nil
}
