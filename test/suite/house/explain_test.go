package house

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// What kubectl explain says of a field is a sentence with the field as its subject. The texts that
// Kubernetes itself gives (metadata, conditions) are its own.
func TestKubectlExplainSpeaksInSentences(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "charts/multinic/files/crds/*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal("there are no CRDs", err)
	}
	fields := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		var crd struct {
			Spec struct {
				Names    struct{ Kind string }
				Versions []struct {
					Name   string
					Schema struct{ OpenAPIV3Schema map[string]any }
				}
			}
		}
		if err == nil {
			err = yaml.Unmarshal(data, &crd)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range crd.Spec.Versions {
			fields += explained(t, crd.Spec.Names.Kind, v.Schema.OpenAPIV3Schema)
		}
	}
	if fields < 100 {
		t.Errorf("only %d fields were looked at", fields)
	}
}

// explained looks at the fields below a schema, and counts them.
func explained(t *testing.T, path string, schema map[string]any) (n int) {
	t.Helper()
	fields, _ := schema["properties"].(map[string]any)
	for name, value := range fields {
		field, ok := value.(map[string]any)
		if !ok || name == "metadata" || name == "apiVersion" || name == "kind" {
			continue
		}
		n++
		text, _ := field["description"].(string)
		// Types say what they are: "State sums up ...". A field's own text begins with its name.
		subject := regexp.MustCompile(`^(` + name + `|[A-Z]\w+) (is|are|has|gives|equals|repeats|says?|permits|sums up|counts|lets|means|names|tells)\b`)
		if !subject.MatchString(text) || !strings.HasSuffix(strings.TrimSpace(text), ".") {
			t.Errorf("kubectl explain %s.%s says no sentence: %q", path, name, text)
		}
		if name == "conditions" {
			continue
		}
		n += explained(t, path+"."+name, field)
		if items, ok := field["items"].(map[string]any); ok {
			n += explained(t, path+"."+name, items)
		}
	}
	return n
}
