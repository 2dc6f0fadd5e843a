package migrate

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "multinicd/api/v1"
)

func TestAnExportOverwritesNothing(t *testing.T) {
	w := world(list(entry(1, "01"), entry(2, "02")), object(1, []string{"01"}, settled), object(2, []string{"02"}))
	w.Old[0].APIVersion = v1.GroupVersion.String()
	dir := filepath.Join(t.TempDir(), "export")
	export := func(written, same int) error {
		t.Helper()
		n, s, err := Export(w, dir)
		if n != written || s != same {
			t.Errorf("%d written and %d there already, want %d and %d (%v)", n, s, written, same, err)
		}
		return err
	}
	if err := export(4, 0); err != nil {
		t.Fatal(err)
	}
	if err := export(0, 4); err != nil {
		t.Fatal(err)
	}
	objects, err := ReadExport(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range objects {
		if diff := cmp.Diff(w.Objects[i].Spec, o.Spec); diff != "" || o.Status.State != "" || o.Labels[v1.PublisherLabel] != v1.PublisherLegacy {
			t.Errorf("%s has another spec, a status or no label %v (-want +got):\n%s", o.Name, o.Labels, diff)
		}
	}
	// Broken off before its end, it goes on.
	for _, name := range []string{IndexName, "node-worker-2.yaml"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ReadExport(dir); err == nil {
		t.Error("an export without its index was read")
	}
	if err := export(2, 2); err != nil {
		t.Fatal(err)
	}
	// The cluster has changed since.
	w.Objects[0] = object(1, []string{"07"})
	if err := export(0, 2); !errors.Is(err, ErrDiffers) || !strings.Contains(err.Error(), "node-worker-1.yaml") {
		t.Errorf("over another export: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("files are left: %v (%v)", left, err)
	}
}

func TestAnExportThatWasChangedIsNotRead(t *testing.T) {
	w := world(nil, object(1, []string{"01"}), object(2, []string{"02"}))
	for name, spoil := range map[string]struct {
		do   func(dir string) error
		want string
	}{
		"a file is missing": {func(dir string) error { return os.Remove(filepath.Join(dir, "node-worker-1.yaml")) }, "node-worker-1.yaml"},
		"a file is another one": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "node-worker-2.yaml"), []byte("a: b\n"), 0o600)
		}, "it is not the file that was exported"},
		"the index names a file elsewhere": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, IndexName), []byte("files: [{name: ../x, kind: MultiNicNodeConfig, object: x, sha256: x}]\n"), 0o600)
		}, "is no name of a file"},
		"the index is no index": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, IndexName), []byte("x: y\n"), 0o600)
		}, "index.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if _, _, err := Export(w, dir); err != nil {
				t.Fatal(err)
			}
			if err := spoil.do(dir); err != nil {
				t.Fatal(err)
			}
			if objects, err := ReadExport(dir); err == nil || !strings.Contains(err.Error(), spoil.want) || objects != nil {
				t.Errorf("read %d objects: %v", len(objects), err)
			}
		})
	}
}
