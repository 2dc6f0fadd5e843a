package house

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"multinicd/internal/config"
)

// schemas are those of the objects that people write, for yaml-language-server, by the CRD of each.
var schemas = map[string]string{
	"multinicnodeconfig.schema.json": "multinic.io_multinicnodeconfigs.yaml",
	"multinicnoderun.schema.json":    "multinic.io_multinicnoderuns.yaml",
	"multinicbizconfig.schema.json":  "multinic.io_multinicbizconfigs.yaml",
}

func TestTheSchemasForEditorsAreUpToDate(t *testing.T) {
	want := map[string]string{}
	text, err := config.Schema()
	if err != nil {
		t.Fatal(err)
	}
	want["multinicd.schema.json"] = string(text)
	for name, crd := range schemas {
		want[name] = ofCRD(t, crd)
	}
	if begin := "#:schema file:///usr/share/multinicd/multinicd.schema.json\n"; !strings.HasPrefix(string(config.Reference()), begin) {
		t.Errorf("the reference of multinicd.toml does not begin with %q", begin)
	}
	for name, schema := range want {
		path := filepath.Join(root, "packaging/schema", name)
		if *update {
			if err := os.WriteFile(path, []byte(schema), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(schema, read(t, "packaging/schema/"+name)); diff != "" {
			t.Errorf("%s is stale, run make generate (-want +got):\n%s", name, diff)
		}
	}
}

// ofCRD is the JSON Schema of what the CRD's version v1 takes. A field that there is not is an error
// for an editor, as it is for kubectl apply --server-side.
func ofCRD(t *testing.T, file string) string {
	t.Helper()
	var crd struct {
		Spec struct {
			Group    string
			Names    struct{ Kind string }
			Versions []struct {
				Name   string
				Schema struct{ OpenAPIV3Schema map[string]any }
			}
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "charts/multinic/files/crds/"+file)), &crd); err != nil {
		t.Fatal(err)
	}
	for _, v := range crd.Spec.Versions {
		if v.Name != "v1" {
			continue
		}
		schema := v.Schema.OpenAPIV3Schema
		closed(schema)
		fields, ok := schema["properties"].(map[string]any)
		if !ok {
			t.Fatalf("%s has no fields", file)
		}
		fields["apiVersion"], fields["kind"] = map[string]any{"const": crd.Spec.Group + "/v1"}, map[string]any{"const": crd.Spec.Names.Kind}
		fields["metadata"] = map[string]any{"type": "object", "description": "Name and labels of the object."}
		schema["$schema"], schema["title"], schema["required"] = "http://json-schema.org/draft-07/schema#", crd.Spec.Names.Kind, []string{"apiVersion", "kind", "metadata", "spec"}
		out, err := json.MarshalIndent(schema, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		return string(out) + "\n"
	}
	t.Fatalf("%s has no version v1", file)
	return ""
}

// closed lets an object have no other fields than those that are named, and drops what only an API
// server can do (rules in CEL).
func closed(schema map[string]any) {
	for key, value := range schema {
		if strings.HasPrefix(key, "x-kubernetes-") {
			delete(schema, key)
			continue
		}
		switch v := value.(type) {
		case map[string]any:
			if key == "properties" {
				for _, field := range v {
					if f, ok := field.(map[string]any); ok {
						closed(f)
					}
				}
				continue
			}
			closed(v)
		}
	}
	if _, named := schema["properties"]; named && schema["additionalProperties"] == nil {
		schema["additionalProperties"] = false
	}
}

// The examples are what an editor is tried on first.
func TestTheSchemasTakeTheExamples(t *testing.T) {
	var schema openapi3.Schema
	text := strings.ReplaceAll(read(t, "packaging/schema/multinicnodeconfig.schema.json"), `"const": "`, `"pattern": "^`)
	if err := json.Unmarshal([]byte(text), &schema); err != nil {
		t.Fatal(err)
	}
	examples, err := filepath.Glob(filepath.Join(root, "examples/*.yaml"))
	if err != nil || len(examples) == 0 {
		t.Fatal(err)
	}
	for _, path := range examples {
		data, err := os.ReadFile(path)
		var o any
		if err == nil {
			err = yaml.Unmarshal(data, &o)
		}
		if err != nil {
			t.Fatal(err)
		}
		object, ok := o.(map[string]any)
		if !ok || object["kind"] != "MultiNicNodeConfig" {
			continue
		}
		if err := schema.VisitJSON(o); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		spec, ok := object["spec"].(map[string]any)
		if !ok {
			t.Fatal("no spec")
		}
		spec["mtuu"] = 1500
		if err := schema.VisitJSON(o); err == nil || !strings.Contains(err.Error(), "mtuu") {
			t.Errorf("%s with a field that there is not: %v", path, err)
		}
	}
}
