package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const goodObject = `apiVersion: multinic.io/v1
kind: MultiNicNodeConfig
metadata:
  name: worker-node-01
spec:
  nodeName: worker-node-01
  interfaces:
  - id: 1
    macAddress: "02:00:00:00:01:01"
    cidr: 192.168.100.10/24
    mtu: 1500
  - id: 2
    macAddress: "02:00:00:00:01:02"
    mtu: 1500
    routes:
    - {to: 10.20.0.0/16, via: 192.168.100.1}
`

func TestAFileIsReadStrictly(t *testing.T) {
	for _, c := range []struct{ name, from, to, want string }{ // want is the first of its lines
		{"as it should be", "", "", ""},
		{"a misspelt field of a NIC", "    mtu: 1500\n  - id: 2", "    mtuu: 1500\n  - id: 2", `node.yaml:11: spec.interfaces[0].mtuu: there is no such field: did you mean "mtu"?`},
		{"a misspelt field of a route", "via:", "viaa:", `node.yaml:16: spec.interfaces[1].routes[0].viaa: there is no such field: did you mean "via"?`},
		{"a misspelt field of the spec", "interfaces:", "interface:", `node.yaml:7: spec.interface: there is no such field: did you mean "interfaces"?`},
		{"a misspelt field of metadata", "  name: w", "  nmae: w", `node.yaml:4: metadata.nmae: there is no such field: did you mean "name"?`},
		{"a field of metadata beside it", "metadata:", "name: x\nmetadata:", `node.yaml:3: name: there is no such field; correct it, or leave it out`},
		{"a field in another case, which the API server does not take either", "macAddress: \"02:00:00:00:01:01\"", "MACAddress: \"02:00:00:00:01:01\"", `node.yaml:9: spec.interfaces[0].MACAddress: there is no such field: did you mean "macAddress"?`},
		{"a field that other publishers have", "    mtu: 1500\n  - id: 2", "    networkUUID: 7\n  - id: 2", `node.yaml:11: spec.interfaces[0].networkUUID: there is no such field; correct it, or leave it out`},
		{"a value out of range", "mtu: 1500\n    routes", "mtu: 15\n    routes", `node.yaml:14: spec.interfaces[1].mtu: `},
		{"a value of another type", "mtu: 1500\n    routes", "mtu: big\n    routes", `node.yaml:14: spec.interfaces[1].mtu: it is a string, want a whole number`},
		{"a field that is missing", "    macAddress: \"02:00:00:00:01:02\"\n", "", `node.yaml:12: spec.interfaces[1].macAddress: `},
		{"another kind", "MultiNicNodeConfig", "MultiNicBizConfig", `node.yaml:2: kind: `},
		{"a field that is there twice", "  nodeName", "  nodeName: x\n  nodeName", `key "nodeName" already set`},
		{"two objects", "apiVersion", "apiVersion: multinic.io/v1\n---\napiVersion", `line 3: a second object begins here; want one, that of this node`},
		{"marks of documents around one", "apiVersion", "---\n# of this node\napiVersion", ""},
		{"what kubectl get adds", "spec:", "  managedFields: [{manager: kubectl, fieldsV1: {\"f:spec\": {}}}]\n  creationTimestamp: null\nstatus: {state: Configured, someday: 1}\nspec:", ""},
		{"an entry by an anchor", "  - id: 2\n    macAddress: \"02:00:00:00:01:02\"\n", "  - &two\n    id: 2\n    macAddress: \"02:00:00:00:01:02\"\n", ""},
		{"a misspelt field by a merge", "  - id: 2\n", "  - <<: {mtuu: 9000}\n    id: 2\n", `node.yaml:12: spec.interfaces[1].mtuu: there is no such field: did you mean "mtu"?`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(goodObject, c.from) {
				t.Fatalf("the object has no %q", c.from)
			}
			name := filepath.Join(t.TempDir(), "node.yaml")
			if err := os.WriteFile(name, []byte(strings.Replace(goodObject, c.from, c.to, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := readObject(name)
			got := ""
			if err != nil {
				got, _, _ = strings.Cut(strings.ReplaceAll(err.Error(), filepath.Dir(name)+"/", ""), "\nnode.yaml:6: spec.nodeName")
			}
			if c.want == "" && got != "" || !strings.Contains(got, c.want) || strings.Count(got, "node.yaml:") > 1 {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestEveryMistakeOfAFileIsALine(t *testing.T) {
	text := strings.NewReplacer("cidr:", "cird:", "via:", "viaa:", "mtu: 1500\n    routes", "mtu: 15\n    routes").Replace(goodObject)
	_, err := parseObject("node.yaml", []byte(text))
	if err == nil {
		t.Fatal("it is taken")
	}
	lines := strings.Split(err.Error(), "\n")
	for i, want := range []string{"node.yaml:10: ", "node.yaml:14: ", "node.yaml:16: "} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], want) {
			t.Errorf("line %d is not %q:\n%v", i, want, err)
		}
	}
}

func TestEveryExampleIsTaken(t *testing.T) {
	files, err := filepath.Glob("../../examples/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	taken := 0
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "kind: MultiNicNodeConfig\n") {
			continue
		}
		taken++
		if _, err := parseObject(name, text); err != nil {
			t.Error(err)
		}
	}
	if taken < 4 {
		t.Errorf("only %d of the examples are objects of a node", taken)
	}
}

// FuzzParseObject: a file is one object that the API server would take, or each mistake is a line
// that begins with the file's name.
func FuzzParseObject(f *testing.F) {
	f.Add([]byte(goodObject))
	f.Add([]byte(strings.NewReplacer("cidr:", "cird:", "mtu: 1500", "mtu: x").Replace(goodObject)))
	f.Add([]byte("--- # nothing\n---\n" + goodObject + "---\n" + goodObject))
	f.Add([]byte("spec: &a {interfaces: [*a], <<: *a, !!merge x: *a}\nkind: MultiNicNodeConfig\napiVersion: multinic.io/v1\n"))
	f.Add([]byte(`{"apiVersion":"multinic.io/v1","kind":"MultiNicNodeConfig","metadata":{"name":"n"},"spec":{"nodeName":"n","\u001b":1}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		obj, err := parseObject("node.yaml", text)
		if err != nil {
			if first, _, _ := strings.Cut(err.Error(), "\n"); obj != nil || !strings.HasPrefix(first, "node.yaml:") && !strings.HasPrefix(first, "reading node.yaml: ") {
				t.Errorf("refused with %v", err)
			}
			return
		}
		if _, wrong := obj.Validate(); len(wrong) > 0 {
			t.Errorf("it is taken with %v", wrong)
		}
	})
}
