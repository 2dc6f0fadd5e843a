package v1

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// ParseNodeConfig reads one MultiNicNodeConfig, of either version, from JSON. It serves `apply -f`
// and every decoder of untrusted input.
//
// A value of the wrong type gives a FieldErrors that names the field as the API server does. Fields
// that the schema does not know are dropped, as the API server drops them. The caller still has to
// call Validate.
func ParseNodeConfig(data []byte) (*MultiNicNodeConfig, error) {
	var c MultiNicNodeConfig
	err := json.Unmarshal(data, &c)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) && wrong.Field == "" && pathAt(data, wrong.Offset) == "" {
		return nil, fmt.Errorf("reading %s: it is a %s, want an object", NodeConfigKind, wrong.Value)
	}
	if errors.As(err, &wrong) {
		return nil, FieldErrors{{
			Field:   pathAt(data, wrong.Offset),
			Message: fmt.Sprintf("it is a %s, want %s", wrong.Value, plainType(wrong.Type.Kind().String())),
			Index:   -1,
		}}
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", NodeConfigKind, err)
	}
	if c.Kind != NodeConfigKind {
		return nil, FieldErrors{{Field: "kind", Message: fmt.Sprintf("it is %q, want %s", c.Kind, NodeConfigKind), Index: -1}}
	}
	if c.APIVersion != GroupVersion.String() && c.APIVersion != AlphaGroupVersion.String() {
		return nil, FieldErrors{{Field: "apiVersion", Message: fmt.Sprintf("it is %q, want %s", c.APIVersion, GroupVersion), Index: -1}}
	}
	return &c, nil
}

func plainType(kind string) string {
	switch {
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		return "a whole number"
	case kind == "bool":
		return "true or false"
	case kind == "slice":
		return "a list"
	case kind == "struct", kind == "map":
		return "an object"
	}
	return "a " + kind
}

// pathAt is the path of the value that begins or ends at a byte offset of a JSON text.
// encoding/json leaves the indices of lists out of the paths in its errors; pathAt has them.
func pathAt(data []byte, offset int64) string {
	type frame struct {
		object bool
		value  bool // in an object: the key has been read, its value comes next
		key    string
		index  int
	}
	var stack []*frame
	path := func() string {
		var b strings.Builder
		for _, f := range stack {
			if !f.object {
				fmt.Fprintf(&b, "[%d]", f.index)
				continue
			}
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(f.key)
		}
		return b.String()
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	for {
		tok, err := dec.Token()
		if err != nil {
			return path()
		}
		delim, _ := tok.(json.Delim)
		if delim == '}' || delim == ']' {
			stack = stack[:len(stack)-1]
			continue
		}
		if len(stack) > 0 {
			top := stack[len(stack)-1]
			if top.object && !top.value {
				top.key, top.value = fmt.Sprint(tok), true
				continue
			}
			top.value = false
			top.index++
		}
		if dec.InputOffset() >= offset {
			return path()
		}
		if delim != 0 {
			stack = append(stack, &frame{object: delim == '{', index: -1})
		}
	}
}
