package controlplane

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// KubectlPath is the kubectl that belongs to the cluster's version.
func (c *Cluster) KubectlPath() string { return filepath.Join(c.bin, "kubectl") }

// Kubectl runs kubectl as the administrator and returns what it prints; what it complains of is in the error.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.kubectl(ctx, "", args)
}

// Apply runs kubectl apply on a text of YAML documents.
func (c *Cluster) Apply(ctx context.Context, yaml string, args ...string) (string, error) {
	return c.kubectl(ctx, yaml, append([]string{"apply", "-f", "-"}, args...))
}

func (c *Cluster) kubectl(ctx context.Context, stdin string, args []string) (string, error) {
	cmd := exec.CommandContext(ctx, c.KubectlPath(), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig, "HOME="+c.dir)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("running kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}
