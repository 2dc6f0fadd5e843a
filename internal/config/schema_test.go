package config

import (
	"encoding/json"
	"regexp"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/getkin/kin-openapi/openapi3"
)

// What the schema refuses Parse refuses, too; and of what Parse refuses an editor sees what can be
// seen of one key.
func TestTheSchemaKnowsWhatParseKnows(t *testing.T) {
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var schema openapi3.Schema
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		text string
		well bool
	}{
		"an empty file":                  {"", true},
		"the reference as it is":         {string(reference), true},
		"the reference, uncommented":     {regexp.MustCompile(`(?m)^#(\w+ = )`).ReplaceAllString(string(reference), "$1"), true},
		"a key that there is not":        {"nod = 'x'", false},
		"a table that there is not":      {"[sorce]\nmode = 'poll'", false},
		"a key in the wrong table":       {"[source]\ndad = 'fast'", false},
		"a value where a table belongs":  {"source = 'poll'", false},
		"a table where a value belongs":  {"[node]\nname = 'x'", false},
		"an unknown choice":              {"[source]\nmode = 'push'", false},
		"an unknown level":               {"[log]\nlevel = 'trace'", false},
		"an integer as a duration":       {"[source]\ninterval = 30", false},
		"a duration without a unit":      {"[source]\ninterval = '30'", false},
		"a duration":                     {"[source]\ninterval = '1m30s'", true},
		"a string for a boolean":         {"[probe]\napi = 'yes'", false},
		"a string for a list":            {"[links]\ndeny_names = 'x*'", false},
		"a number in a list of strings":  {"[links]\ndeny_names = ['x', 1]", false},
		"a table that no route may name": {"[routing]\nallow_tables = [0]", false},
		"tables that routes may name":    {"[routing]\nallow_tables = [100, 200]", true},
	} {
		var file map[string]any
		if err := toml.Unmarshal([]byte(row.text), &file); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		data, err := json.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		var value any
		if err := json.Unmarshal(data, &value); err != nil {
			t.Fatal(err)
		}
		err = schema.VisitJSON(value)
		if (err == nil) != row.well {
			t.Errorf("%s: the schema says %v", name, err)
		}
		if _, err := Parse("x", []byte(row.text)); (err == nil) != row.well {
			t.Errorf("%s: Parse says %v", name, err)
		}
	}
}

// Each key has what the reference says of it.
func TestTheSchemaSaysWhatTheReferenceSays(t *testing.T) {
	said := comments(string(reference))
	var c Config
	for _, s := range c.settings() {
		if said[s.key].text == "" || s.form == nil {
			t.Errorf("%s has no description or no type: %+v %v", s.key, said[s.key], s.form)
		}
	}
}
