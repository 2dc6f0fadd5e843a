package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	sigsyaml "sigs.k8s.io/yaml"

	v1 "multinicd/api/v1"
	"multinicd/internal/config"
)

// maxFile bounds the file of an object. The API server takes no larger object.
const maxFile = 3 << 20

// readObject reads one object from a file, or from standard input if name is "-".
func readObject(name string) (*v1.MultiNicNodeConfig, error) {
	in, shown := io.Reader(os.Stdin), "standard input"
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("reading the object: %w", err)
		}
		defer f.Close()
		in, shown = f, name
	}
	text, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", shown, err)
	}
	return parseObject(shown, text)
}

// parseObject takes the text of a file strictly, as kubectl does. A field that the schema does not
// know is a mistake: somebody wanted something, and to leave it out would do something else. (What
// comes from the API server is read tolerantly, because a newer version may have written it.) For a
// bad object, each mistake is one line of the error, with the file, the line and the field.
func parseObject(name string, text []byte) (*v1.MultiNicNodeConfig, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("reading %s: larger than %d bytes, which no object may be", name, maxFile)
	}
	data, err := sigsyaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	root, err := singleDocument(text)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	var f fields
	f.walk(root, reflect.TypeFor[v1.MultiNicNodeConfig](), "")
	obj, err := v1.ParseNodeConfig(data)
	var wrong v1.FieldErrors
	switch {
	case errors.As(err, &wrong):
		return nil, f.refuse(name, wrong)
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	_, errs := obj.Validate()
	if wrong = append(f.unknown, errs...); len(wrong) > 0 {
		return nil, f.refuse(name, wrong)
	}
	return obj, nil
}

// singleDocument gives the nodes of the only document in the text. YAMLToJSON would take the first
// of several documents, and say nothing about the others.
func singleDocument(text []byte) (*yaml.Node, error) {
	var found *yaml.Node
	for dec := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var doc yaml.Node
		switch err := dec.Decode(&doc); {
		case errors.Is(err, io.EOF) && found == nil:
			return nil, errors.New("the file is empty; want one object")
		case errors.Is(err, io.EOF):
			return found, nil
		case err != nil:
			return nil, err
		}
		if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("line %d: a second object begins here; want one, that of this node", doc.Content[0].Line)
		}
		found = doc.Content[0]
	}
}

// fields are the fields that the text of an object has.
type fields struct {
	// by path: the line of the field's key, or of the beginning of an entry of a list
	lines   map[string]int
	unknown v1.FieldErrors
}

// walk notes the fields below a node, and which of them type t does not have. Names must agree in
// upper and lower case, as for the API server.
func (f *fields) walk(n *yaml.Node, t reflect.Type, path string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return // the type itself decodes what is below
	}
	switch {
	case n.Kind == yaml.MappingNode && t.Kind() == reflect.Struct:
		known := known(t)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			if key.Tag == "!!merge" {
				f.walk(value, t, path)
				continue
			}
			at := strings.TrimPrefix(path+"."+key.Value, ".")
			f.note(at, key.Line)
			switch field, ok := known[key.Value]; {
			case !ok:
				f.unknown = append(f.unknown, unknownField(at, key.Value, known))
			case at != "status":
				// Nobody writes status by hand. A file made with kubectl get has it, in the version
				// of that cluster.
				f.walk(value, field, at)
			}
		}
	case n.Kind == yaml.SequenceNode && t.Kind() == reflect.Slice:
		for i, entry := range n.Content {
			at := fmt.Sprintf("%s[%d]", path, i)
			f.note(at, entry.Line)
			f.walk(entry, t.Elem(), at)
		}
	}
}

func (f *fields) note(path string, line int) {
	if f.lines == nil {
		f.lines = map[string]int{}
	}
	f.lines[path] = line
}

// known gives the fields of a struct by their names in JSON.
func known(t reflect.Type) map[string]reflect.Type {
	out := map[string]reflect.Type{}
	for i := range t.NumField() {
		field := t.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case options == "inline":
			maps.Copy(out, known(field.Type))
		case name != "" && name != "-":
			out[name] = field.Type
		}
	}
	return out
}

func unknownField(path, name string, known map[string]reflect.Type) v1.FieldError {
	e := v1.FieldError{Field: path, Message: "there is no such field; correct it, or leave it out"}
	var names []string
	for k := range known {
		if strings.EqualFold(k, name) {
			names = []string{k}
			break
		}
		names = append(names, k)
	}
	slices.Sort(names)
	if near := config.Nearest(name, names); near != "" || len(names) == 1 {
		e.Message = fmt.Sprintf("there is no such field: did you mean %q?", cmp.Or(near, names[0]))
	}
	return e
}

// refuse says what is wrong with the object in a file, in the order of its lines.
func (f *fields) refuse(name string, wrong v1.FieldErrors) error {
	slices.SortStableFunc(wrong, func(a, b v1.FieldError) int { return cmp.Compare(f.line(a.Field), f.line(b.Field)) })
	errs := make([]error, len(wrong))
	for i, w := range wrong {
		errs[i] = fmt.Errorf("%s:%d: %w", name, f.line(w.Field), w)
	}
	return errors.Join(errs...)
}

// line is the line of a field. For a missing field it is the line of what should hold the field.
func (f *fields) line(path string) int {
	for path != "" {
		if line := f.lines[path]; line > 0 {
			return line
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return 1
}
