// Command alpha finishes the CustomResourceDefinitions that controller-gen
// wrote: it serves the stored version's schema as v1alpha1 too, deprecated, for
// the objects that are in the field.
//
// In go the folder of the definitions and the names of those to finish; the
// files are rewritten in place, the same input giving the same bytes.
//
// controller-gen makes a version from a Go package, and a second package of the
// same types could drift from the first. Here there is one.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

const (
	version = "v1alpha1"
	warning = "multinic.io/v1alpha1 is deprecated; use multinic.io/v1, which has the same fields"
	header  = "# Generated from api/v1 by `make generate`; do not edit.\n---\n"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "alpha:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 1 {
		return errors.New("usage: alpha FOLDER [NAME-OF-A-DEFINITION-WITH-" + version + "]...")
	}
	alpha := map[string]bool{}
	for _, name := range args[1:] {
		alpha[name] = true
	}
	files, err := filepath.Glob(filepath.Join(args[0], "*.yaml"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := finish(file, alpha); err != nil {
			return fmt.Errorf("finishing %s: %w", file, err)
		}
	}
	for name := range alpha {
		return fmt.Errorf("%s holds no definition named %s", args[0], name)
	}
	return nil
}

// finish rewrites one file and strikes its definition off alpha.
func finish(file string, alpha map[string]bool) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var crd map[string]any
	if err := yaml.Unmarshal(data, &crd); err != nil {
		return err
	}
	meta, _ := crd["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	annotations, _ := meta["annotations"].(map[string]any)
	if annotations == nil {
		return errors.New("no annotations; not written by controller-gen")
	}
	// The definitions outlive the chart: without them every object is lost.
	annotations["helm.sh/resource-policy"] = "keep"
	if alpha[name] {
		spec, _ := crd["spec"].(map[string]any)
		versions, _ := spec["versions"].([]any)
		if len(versions) != 1 {
			return fmt.Errorf("it has %d versions, want the stored one alone", len(versions))
		}
		stored, _ := versions[0].(map[string]any)
		older := map[string]any{}
		for k, v := range stored {
			older[k] = v
		}
		older["name"], older["storage"] = version, false
		older["deprecated"], older["deprecationWarning"] = true, warning
		spec["versions"] = append(versions, older)
		spec["conversion"] = map[string]any{"strategy": "None"}
		delete(alpha, name)
	}
	out, err := yaml.Marshal(crd)
	if err != nil {
		return err
	}
	return os.WriteFile(file, append([]byte(header), out...), 0o644)
}
