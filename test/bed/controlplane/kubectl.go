package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
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

// Served waits until the API server serves the resources of CRDs that were applied ("multinicnodeconfigs.multinic.io"), and lists them to who discovers what
// there is: it says that they are established a moment before.
func (c *Cluster) Served(ctx context.Context, crds ...string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for _, crd := range crds {
		for {
			err := c.served(ctx, crd)
			if err == nil {
				break
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("waiting for %s to be served: %w: %w", crd, ctx.Err(), err)
			}
		}
	}
	return nil
}

// served asks for the resources of every version that a CRD has: they are listed where they are served. What discovers them reads first the list of all groups,
// then the list of a version; the server writes each of both by itself.
func (c *Cluster) served(ctx context.Context, crd string) error {
	at, err := c.Print(ctx, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"+crd, "{range .spec.versions[?(@.served==true)]}{.name} {end}")
	if err != nil {
		return err
	}
	versions := strings.Fields(at)
	if len(versions) == 0 {
		return errors.New("it is not there")
	}
	resource, group, _ := strings.Cut(crd, ".")
	for _, version := range versions {
		var list struct{}
		if err := c.Get(ctx, fmt.Sprintf("/apis/%s/%s/%s?limit=1", group, version, resource), &list); err != nil {
			return err
		}
	}
	discover := discovery.NewDiscoveryClient(c.client)
	_, all, _, err := discover.GroupsAndMaybeResources()
	if err != nil {
		return fmt.Errorf("discovering what is served: %w", err)
	}
	for _, version := range versions {
		at := schema.GroupVersion{Group: group, Version: version}
		alone, err := discover.ServerResourcesForGroupVersion(at.String())
		if err != nil {
			return fmt.Errorf("discovering what is served in %s: %w", at, err)
		}
		for _, list := range []*metav1.APIResourceList{all[at], alone} {
			if list == nil || !slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == resource }) {
				return fmt.Errorf("%s is not discovered in %s", resource, at)
			}
		}
	}
	return nil
}

func (c *Cluster) kubectl(ctx context.Context, stdin string, args []string) (string, error) {
	cmd := exec.CommandContext(ctx, c.KubectlPath(), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig, "HOME="+c.dir, "GOGC="+gogc)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("running kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}
