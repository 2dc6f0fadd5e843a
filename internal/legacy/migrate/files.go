package migrate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	v1 "multinicd/api/v1"
	"multinicd/internal/legacy"
)

// IndexName is the file that names all others of an export. It is written last: a folder without it
// is not whole.
const IndexName = "index.yaml"

// maxFile bounds a file that is read, in bytes.
const maxFile = 4 << 20

// Index names the files of an export.
type Index struct {
	Files []File `json:"files"`
}

// File is one of an export.
type File struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	Object string `json:"object"`
	SHA256 string `json:"sha256"`
}

// ErrDiffers: a file or an object is there already, and is another one.
var ErrDiffers = errors.New("something else is there already, and nothing is overwritten")

// Export writes a file for each object of a node, for each older object, and the Index. Statuses
// are left out. The same cluster gives the same files. A file that is there is never overwritten:
// if it is another one the error is ErrDiffers and names it, and no Index is written.
func Export(w legacy.World, folder string) (written, same int, err error) {
	files, index, err := exported(w)
	if err != nil {
		return 0, 0, err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return 0, 0, fmt.Errorf("making the folder: %w", err)
	}
	put := func(name string, text []byte) error {
		is, err := putFile(filepath.Join(folder, name), text)
		switch {
		case err != nil:
			return err
		case is:
			written++
		default:
			same++
		}
		return nil
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(files)) {
		errs = append(errs, put(name, files[name]))
	}
	if err := errors.Join(errs...); err != nil {
		return written, same, err
	}
	return written, same, put(IndexName, index)
}

// exported are the files by name, and the index.
func exported(w legacy.World) (map[string][]byte, []byte, error) {
	files := map[string][]byte{}
	index := Index{Files: []File{}}
	add := func(kind, object, name string, v any) error {
		text, err := yaml.Marshal(v)
		if err != nil {
			return fmt.Errorf("encoding %s %s: %w", kind, object, err)
		}
		sum := sha256.Sum256(text)
		files[name] = text
		index.Files = append(index.Files, File{Name: name, Kind: kind, Object: object, SHA256: hex.EncodeToString(sum[:])})
		return nil
	}
	for _, o := range w.Objects {
		if err := add(v1.NodeConfigKind, o.Name, "node-"+o.Name+".yaml", bare(o)); err != nil {
			return nil, nil, err
		}
	}
	for _, o := range w.Old {
		group := metav1.TypeMeta{APIVersion: o.APIVersion, Kind: v1.BizConfigKind}
		body := map[string]any{"apiVersion": group.APIVersion, "kind": group.Kind, "spec": o.Spec,
			"metadata": map[string]any{"name": o.Name, "namespace": o.Namespace, "labels": o.Labels, "annotations": kept(o.Annotations)}}
		name := "older-" + o.Name + ".yaml"
		if o.APIVersion != v1.GroupVersion.String() {
			name = "older-" + group.GroupVersionKind().Group + "-" + o.Name + ".yaml"
		}
		if err := add(v1.BizConfigKind, o.Name, name, body); err != nil {
			return nil, nil, err
		}
	}
	slices.SortFunc(index.Files, func(a, b File) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	text, err := yaml.Marshal(index)
	return files, text, err
}

// bare is an object without what the API server and the nodes add.
func bare(o *v1.MultiNicNodeConfig) map[string]any {
	return map[string]any{"apiVersion": v1.GroupVersion.String(), "kind": v1.NodeConfigKind, "spec": o.Spec,
		"metadata": map[string]any{"name": o.Name, "namespace": o.Namespace, "labels": o.Labels, "annotations": kept(o.Annotations)}}
}

// kept are annotations without what kubectl notes for itself.
func kept(all map[string]string) map[string]string {
	out := maps.Clone(all)
	delete(out, "kubectl.kubernetes.io/last-applied-configuration")
	return out
}

// putFile writes a file that is not there yet, as a whole or not at all. It says false if the file
// is there already and the same.
func putFile(path string, text []byte) (bool, error) {
	have, err := readFile(path)
	if err == nil {
		if !bytes.Equal(have, text) {
			return false, fmt.Errorf("%w: %s", ErrDiffers, path)
		}
		return false, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".export-*")
	if err != nil {
		return false, fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() { _ = os.Remove(temp.Name()) }() // it has its right name by then, or is of no use
	_, err = temp.Write(text)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err == nil {
		err = os.Link(temp.Name(), path) // which overwrites nothing
	}
	if err != nil {
		return false, fmt.Errorf("writing %s: %w", path, err)
	}
	return true, nil
}

// readFile reads a file of bounded size.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("reading %s: it is no file of at most %d bytes", path, maxFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading: %w", err)
	}
	return text, nil
}

// ReadExport reads the objects of nodes of an export. A file that is missing, or that is not the one
// that the Index names, is an error that names it; then there are no objects. Older objects are left
// where they are.
func ReadExport(folder string) ([]*v1.MultiNicNodeConfig, error) {
	text, err := readFile(filepath.Join(folder, IndexName))
	if err != nil {
		return nil, fmt.Errorf("reading the index of an export: %w", err)
	}
	var index Index
	if err := yaml.UnmarshalStrict(text, &index); err != nil {
		return nil, fmt.Errorf("reading %s: %w", filepath.Join(folder, IndexName), err)
	}
	var out []*v1.MultiNicNodeConfig
	var errs []error
	for _, f := range index.Files {
		path := filepath.Join(folder, f.Name)
		if filepath.Base(f.Name) != f.Name || f.Name == "" {
			errs = append(errs, fmt.Errorf("reading the index of an export: %q is no name of a file", f.Name))
			continue
		}
		text, err := readFile(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != f.SHA256 {
			errs = append(errs, fmt.Errorf("reading %s: it is not the file that was exported", path))
			continue
		}
		if f.Kind != v1.NodeConfigKind {
			continue
		}
		data, err := yaml.YAMLToJSONStrict(text)
		if err == nil {
			var o *v1.MultiNicNodeConfig
			if o, err = v1.ParseNodeConfig(data); err == nil && (o.Name != f.Object || o.Namespace != v1.SystemNamespace) {
				err = fmt.Errorf("it is about %s/%s", o.Namespace, o.Name)
			}
			if err == nil {
				out = append(out, o)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("reading %s: %w", path, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return out, nil
}

// The actions of an import.
const (
	// Make: there is no such object, and it is made.
	Make Action = "make"
	// Same: the object is as the file says.
	Same Action = "same"
)

// Differs: the object is there, and is another one than the file says.
const Differs = "Differs"

// Import makes the objects of an export that are not there. An object that is there stays as it is;
// if it is another one, it is named, and the error is ErrLeft.
func (m *Migration) Import(ctx context.Context, objects []*v1.MultiNicNodeConfig) ([]Outcome, error) {
	var ended Outcomes
	do := func(ctx context.Context) error {
		for _, o := range objects {
			out := Outcome{Node: o.Name}
			if err := again(ctx, func() error { return m.put(ctx, o, &out) }); err != nil {
				out.Left, out.Reason, out.Message = true, "NotWritten", err.Error()
			}
			ended.put(out)
			m.say(Event{Node: o.Name, What: string(out.Action), Message: said(out), Ended: true, Total: len(objects)})
			if err := context.Cause(ctx); err != nil {
				return fmt.Errorf("broken off; the same command goes on from here: %w", err)
			}
		}
		return ended.left()
	}
	if m.Dry {
		err := do(ctx)
		return ended.list(), err
	}
	err := m.locked(ctx, func(ctx context.Context, _ *lock) error { return do(ctx) })
	return ended.list(), err
}

// put makes an object, unless there is one.
func (m *Migration) put(ctx context.Context, o *v1.MultiNicNodeConfig, out *Outcome) error {
	have := &v1.MultiNicNodeConfig{}
	err := m.Client.Get(ctx, client.ObjectKeyFromObject(o), have)
	switch {
	case apierrors.IsNotFound(err):
		out.Action, out.Reason, out.Left = Make, "", false
		if m.Dry {
			return nil
		}
		next := o.DeepCopy()
		next.Status, next.ObjectMeta = v1.MultiNicNodeConfigStatus{}, metav1.ObjectMeta{Name: o.Name, Namespace: o.Namespace, Labels: o.Labels, Annotations: o.Annotations}
		by := fieldOwner
		if o.Labels[v1.PublisherLabel] == v1.PublisherLegacy {
			by = v1.PublisherLegacy // or the older object would seem to be overruled
		}
		if err := m.Client.Create(ctx, next, client.FieldOwner(by)); err != nil {
			return fmt.Errorf("making the object: %w", err)
		}
	case err != nil:
		return fmt.Errorf("reading the object: %w", err)
	case equality.Semantic.DeepEqual(have.Spec, o.Spec) && have.Labels[v1.PublisherLabel] == o.Labels[v1.PublisherLabel]:
		if out.Action == "" {
			out.Action = Same
		}
	default:
		out.Action, out.Left, out.Reason, out.Message = Skipped, true, Differs, "the object in the cluster is another one than the file says; nothing was changed"
	}
	return nil
}
