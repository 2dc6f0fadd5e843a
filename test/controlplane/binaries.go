package controlplane

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"multinicd/test/artifact"
)

// component is one program of the control plane.
type component struct {
	name string
	pkg  string // its main package, in the module below module/
}

var components = []component{
	{"etcd", "go.etcd.io/etcd/server/v3"},
	{"kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"},
	{"kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"},
	{"kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"},
	{"kubectl", "k8s.io/kubernetes/cmd/kubectl"},
}

// optional are those that setup-envtest does not bring.
var optional = map[string]bool{"kube-controller-manager": true, "kube-scheduler": true}

// Binaries returns the folder with the control plane's programs: $KUBEBUILDER_ASSETS where that is set, else
// built from the module in module/, once per version (5-10 min with a cold build cache, 25 s with a warm one).
func Binaries(ctx context.Context, logf artifact.Logf) (string, error) {
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		for _, c := range components {
			if _, err := os.Stat(filepath.Join(dir, c.name)); err != nil && !optional[c.name] {
				return "", fmt.Errorf("using KUBEBUILDER_ASSETS: %w", err)
			}
		}
		return dir, nil
	}
	root, err := artifact.RepositoryRoot()
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "test", "controlplane", "module")
	name, flags, err := version(ctx, module)
	if err != nil {
		return "", err
	}
	return artifact.Make(ctx, logf, name, func(ctx context.Context, dir string) error {
		for _, c := range components {
			start := time.Now()
			logf("building %s", c.name)
			cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-o", filepath.Join(dir, c.name)}, append(flags, c.pkg)...)...)
			cmd.Dir = module
			cmd.Env = artifact.GoEnv()
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("building %s: %w\n%s", c.name, err, out)
			}
			logf("built %s in %.0f s", c.name, time.Since(start).Seconds())
		}
		return nil
	})
}

// Kubelet returns the folder with the kubelet that belongs to the control plane, built from the same module (1 min).
func Kubelet(ctx context.Context, logf artifact.Logf) (string, error) {
	root, err := artifact.RepositoryRoot()
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "test", "controlplane", "module")
	name, flags, err := version(ctx, module)
	if err != nil {
		return "", err
	}
	return artifact.Make(ctx, logf, strings.Replace(name, "controlplane-", "kubelet-", 1), func(ctx context.Context, dir string) error {
		return artifact.Build(ctx, artifact.Module{Dir: module, Flags: flags}, dir, "k8s.io/kubernetes/cmd/kubelet")
	})
}

// version names the artifact after all that decides what is built, and returns the build flags.
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
