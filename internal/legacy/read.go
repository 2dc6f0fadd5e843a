package legacy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	strictjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	v1 "multinicd/api/v1"
	"multinicd/internal/publish"
)

// FieldGroup is the group that some documents of the field give the older kind.
const FieldGroup = "multinic.okestro.io"

// maxLost bounds the sentences about fields of one older object that are not known.
const maxLost = 20

// Read reads a World from a text: YAML or JSON, several documents, and lists as `kubectl get -o yaml`
// prints them. Older objects, objects of nodes and Nodes count. A text without Nodes is a World in
// which they are not known. The sentences say what was left out.
//
// An object of a node that cannot be read, and any older one, is an error that names the document.
func Read(text []byte) (World, []string, error) {
	r := reader{World: World{Unknown: true}, others: map[string]int{}}
	docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for n := 1; ; n++ {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = r.document(doc)
		}
		if err != nil {
			return World{}, nil, fmt.Errorf("reading document %d: %w", n, err)
		}
	}
	kinds := make([]string, 0, len(r.others))
	for kind, n := range r.others {
		kinds = append(kinds, fmt.Sprintf("%d of kind %s: not read", n, kind))
	}
	slices.Sort(kinds)
	return r.World, append(r.lost, kinds...), nil
}

// reader collects what the documents of a text have.
type reader struct {
	World
	lost   []string
	others map[string]int // by kind
}

// head is what every object has.
type head struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        struct{ Name, Namespace string } `json:"metadata"`
	Items           []json.RawMessage                `json:"items"`
}

func (r *reader) document(text []byte) error {
	data, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return err
	}
	if bytes.Equal(bytes.TrimSpace(data), []byte("null")) {
		return nil // nothing but comments
	}
	return r.object(data)
}

func (r *reader) object(data []byte) error {
	var h head
	if err := json.Unmarshal(data, &h); err != nil {
		return fmt.Errorf("want an object with apiVersion and kind: %w", err)
	}
	if strings.HasSuffix(h.Kind, "List") {
		for i, item := range h.Items {
			if err := r.object(item); err != nil {
				return fmt.Errorf("items[%d]: %w", i, err)
			}
		}
		return nil
	}
	group := schema.FromAPIVersionAndKind(h.APIVersion, h.Kind).Group
	title := h.Metadata.Namespace + "/" + h.Metadata.Name
	ours := h.Metadata.Namespace == v1.SystemNamespace || h.Metadata.Namespace == ""
	switch kind := h.Kind; {
	case h.Kind == "":
		return errors.New("the object has no kind")
	case kind == "Node" && group == "":
		return r.node(data)
	case kind == v1.BizConfigKind && (group == v1.Group || group == FieldGroup) && ours:
		return r.old(h.Metadata.Name, data)
	case kind == v1.NodeConfigKind && group == v1.Group && ours:
		o, err := v1.ParseNodeConfig(data)
		if err != nil {
			return fmt.Errorf("%s %s: %w", kind, h.Metadata.Name, err)
		}
		r.Objects = append(r.Objects, o)
	case (kind == v1.BizConfigKind || kind == v1.NodeConfigKind) && !ours:
		r.lost = append(r.lost, fmt.Sprintf("%s %s: only objects in the namespace %s count", kind, title, v1.SystemNamespace))
	default:
		r.others[kind]++
	}
	return nil
}

func (r *reader) node(data []byte) error {
	var n corev1.Node
	if err := json.Unmarshal(data, &n); err != nil {
		return fmt.Errorf("reading a Node: %w", err)
	}
	r.Unknown = false
	r.Machines = append(r.Machines, MachineOf(&n))
	return nil
}

// old reads an older object, and notes what in it is known to nobody.
func (r *reader) old(name string, data []byte) error {
	o, lost, err := ReadOlder(name, data)
	if err != nil {
		return err
	}
	r.lost = append(r.lost, lost...)
	r.Old = append(r.Old, o)
	return nil
}

// ReadOlder reads an older object from JSON. The sentences say what in it is known to nobody.
func ReadOlder(name string, data []byte) (*v1.MultiNicBizConfig, []string, error) {
	var o v1.MultiNicBizConfig
	unknown, err := strictjson.UnmarshalStrict(data, &o)
	if err != nil {
		return nil, nil, fmt.Errorf("%s %s: %w", v1.BizConfigKind, name, err)
	}
	var lost []string
	for _, u := range unknown[:min(len(unknown), maxLost)] {
		lost = append(lost, fmt.Sprintf("%s: %v", name, u))
	}
	if more := len(unknown) - maxLost; more > 0 {
		lost = append(lost, fmt.Sprintf("%s: and %d more such fields", name, more))
	}
	return &o, lost, nil
}

// MachineOf is what the publisher reads of a Node. A provider id that only repeats the Node's name,
// as k3s and kind write it, is the id of no instance.
func MachineOf(n *corev1.Node) publish.Machine {
	m := publish.Machine{Name: n.Name, ProviderID: n.Spec.ProviderID, SystemUUID: n.Status.NodeInfo.SystemUUID}
	if m.ProviderID[strings.LastIndexByte(m.ProviderID, '/')+1:] == n.Name {
		m.ProviderID = ""
	}
	return m
}
