package v1

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// objects are the files of a folder by name, YAML made JSON.
func objects(t *testing.T, pattern string) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files match %s: %v", pattern, err)
	}
	out := map[string][]byte{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out[file] = data
	}
	return out
}

func check(t *testing.T, data []byte) (*MultiNicNodeConfig, FieldErrors) {
	t.Helper()
	js, err := yaml.YAMLToJSON(data)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseNodeConfig(js)
	var fields FieldErrors
	if errors.As(err, &fields) {
		return nil, fields
	}
	if err != nil {
		t.Fatal(err)
	}
	_, errs := c.Validate()
	return c, errs
}

// The API server test in test/suite/bridge reads the same folders.
func TestBadObjectsAreRefusedByField(t *testing.T) {
	bad := objects(t, "testdata/bad/*.yaml")
	if len(bad) < 40 {
		t.Errorf("%d bad objects, want at least 40", len(bad))
	}
	for file, data := range bad {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			first, _, _ := strings.Cut(string(data), "\n")
			want, ok := strings.CutPrefix(first, "# field: ")
			if !ok {
				t.Fatalf("%s begins with %q, want # field: ...", file, first)
			}
			// Where a message shows values, or the rule has no other file, its words are held to those of the API server.
			message := ""
			for line := range strings.Lines(string(data)) {
				if m, ok := strings.CutPrefix(strings.TrimSpace(line), "# message: "); ok {
					message = m
				}
			}
			_, errs := check(t, data)
			for _, e := range errs {
				if e.Message == "" {
					t.Errorf("%s is refused without a message", e.Field)
				}
				if e.Field == want && (message == "" || e.Message == message) {
					return
				}
			}
			t.Errorf("refused for %q, want field %s: %s", errs, want, message)
		})
	}
}

func TestGoodObjectsAreAccepted(t *testing.T) {
	for file, data := range objects(t, "testdata/good/*.yaml") {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			if _, errs := check(t, data); errs != nil {
				t.Errorf("refused: %v", errs)
			}
		})
	}
}

func TestExamplesParse(t *testing.T) {
	for file, data := range objects(t, "../../examples/*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			if strings.Contains(string(data), "kind: Job") {
				return // no object of ours: test/suite/credential applies it
			}
			if strings.Contains(string(data), "kind: MultiNicBizConfig") {
				var biz MultiNicBizConfig
				if err := yaml.UnmarshalStrict(data, &biz); err != nil {
					t.Error(err)
				}
				return
			}
			if err := yaml.UnmarshalStrict(data, &MultiNicNodeConfig{}); err != nil {
				t.Error(err)
			}
			if _, errs := check(t, data); errs != nil {
				t.Errorf("refused: %v", errs)
			}
		})
	}
}

func TestObjectsSurviveARoundTrip(t *testing.T) {
	for _, file := range []string{"../../examples/options.yaml", "testdata/good/v1alpha1.yaml", "testdata/good/without-names.yaml"} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, _ := check(t, data)
		js, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(js), `"status"`) {
			t.Errorf("%s: an empty status is written: %s", file, js)
		}
		got, err := ParseNodeConfig(js)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}

func TestDuplicatesAreNamedInTheMessage(t *testing.T) {
	c := &MultiNicNodeConfig{}
	c.Name, c.Spec.NodeName = "n", "n"
	c.Spec.Interfaces = []Interface{
		{Name: "multinic1", MACAddress: "02:00:00:00:00:AA"},
		{Name: "multinic2", MACAddress: "02:00:00:00:00:aa"},
	}
	want := FieldErrors{{
		Field:   "spec.interfaces",
		Message: "interfaces[0] and interfaces[1] both have macAddress 02:00:00:00:00:aa: give each its own",
		Index:   -1,
	}}
	_, got := c.Validate()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnotherKindIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		`{"apiVersion":"v1","kind":"ConfigMap"}`:                                  "kind",
		`{"apiVersion":"multinic.io/v9","kind":"MultiNicNodeConfig"}`:             "apiVersion",
		`{"apiVersion":"multinic.io/v1","kind":"MultiNicNodeConfig","spec":[]}`:   "spec",
		`{"apiVersion":"multinic.io/v1","kind":"MultiNicNodeConfig","status":""}`: "status",
	} {
		_, err := ParseNodeConfig([]byte(text))
		var errs FieldErrors
		if !errors.As(err, &errs) || errs[0].Field != want {
			t.Errorf("%s: %v, want field %s", text, err, want)
		}
	}
	if _, err := ParseNodeConfig([]byte(`{"kind":`)); err == nil {
		t.Error("half an object is read")
	}
	for _, text := range []string{`"text"`, `[1]`} {
		var errs FieldErrors
		if _, err := ParseNodeConfig([]byte(text)); errors.As(err, &errs) || err == nil || !strings.Contains(err.Error(), "want an object") {
			t.Errorf("%s: %v, which names no field", text, err)
		}
	}
}

func FuzzParseNodeConfig(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml", "../../examples/*.yaml"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			js, err := yaml.YAMLToJSON(data)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(js)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseNodeConfig(data)
		if err != nil {
			return
		}
		nics, errs := c.Validate()
		if len(nics) != min(len(c.Spec.Interfaces), MaxInterfaces) {
			t.Fatalf("%d interfaces become %d NICs", len(c.Spec.Interfaces), len(nics))
		}
		if errs != nil {
			return
		}
		for i, n := range c.Spec.Interfaces {
			out := nics[i]
			if !nameForm().MatchString(out.Name) || !macForm().MatchString(out.MACAddress) {
				t.Errorf("%+v passes Validate and becomes %+v", n, out)
			}
			for _, p := range out.Addresses {
				if !p.IsValid() || !usable(p.Addr()) {
					t.Errorf("%+v passes Validate and has the address %s", n, p)
				}
			}
			if (n.CIDR != "") != (len(out.Addresses) > len(n.Addresses)) {
				t.Errorf("%+v passes Validate and loses its address: %+v", n, out)
			}
		}
	})
}

func TestAnErrorKnowsItsEntry(t *testing.T) {
	c := &MultiNicNodeConfig{}
	c.Name, c.Spec.NodeName, c.Spec.SpecHash = "n", "n", strings.Repeat("h", 300)
	c.Spec.Interfaces = []Interface{
		{Name: "multinic1", MACAddress: "02:00:00:00:00:01"},
		{Name: "multinic1", MACAddress: "x", Routes: []Route{{To: "x"}}},
	}
	var got []string
	_, errs := c.Validate()
	for _, e := range errs {
		got = append(got, fmt.Sprintf("%d %s", e.Index, e.Field))
	}
	want := []string{"-1 spec.specHash", "-1 spec.interfaces", "1 spec.interfaces[1].macAddress", "1 spec.interfaces[1].routes[0].to"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
