package config

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/BurntSushi/toml"
)

// goDuration is what time.ParseDuration takes, without a sign.
const goDuration = `^([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))*$`

// Schema is the JSON Schema of multinicd.toml, for editors (taplo reads the line #:schema of the
// reference). It knows every key, its type, its choices and its default, and says of each what the
// reference says. What a value means beyond that is checked by Parse alone.
func Schema() ([]byte, error) {
	root := map[string]any{"$schema": "http://json-schema.org/draft-07/schema#", "title": "multinicd.toml",
		"description": "How multinicd works on this host: multinicd.toml(5).", "type": "object", "additionalProperties": false}
	top := map[string]any{}
	root["properties"] = top
	said := comments(string(reference))
	var c Config
	for _, s := range c.settings() {
		into, name := top, s.key
		if table, key, ok := strings.Cut(s.key, "."); ok {
			if top[table] == nil {
				top[table] = map[string]any{"type": "object", "additionalProperties": false, "properties": map[string]any{}}
			}
			inner, ok := top[table].(map[string]any)["properties"].(map[string]any)
			if !ok {
				return nil, fmt.Errorf("making the schema: %s is a key and a table", table)
			}
			into, name = inner, key
		}
		of := said[s.key]
		form := map[string]any{"description": of.text}
		for k, v := range s.form {
			form[k] = v
		}
		var value map[string]any
		if err := toml.Unmarshal([]byte("v = "+of.value), &value); err != nil {
			return nil, fmt.Errorf("reading the default of %s: %w", s.key, err)
		}
		form["default"] = value["v"]
		into[name] = form
	}
	out, err := json.MarshalIndent(root, "", "  ")
	return append(out, '\n'), err
}

// comment is what the reference says of a key, and the key's default in TOML.
type comment struct{ text, value string }

var (
	tableLine = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\[(\w+)\]$`) })
	keyLine   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^#(\w+) = (.*)$`) })
)

// comments reads the reference: the comment of a key stands above it, and may be that of the keys
// that follow, too.
func comments(reference string) map[string]comment {
	out, table, text := map[string]comment{}, "", []string{}
	key := false // the line before is a key's
	for line := range strings.Lines(reference) {
		line = strings.TrimSuffix(line, "\n")
		is := keyLine().FindStringSubmatch(line)
		switch {
		case tableLine().MatchString(line):
			table, text = tableLine().FindStringSubmatch(line)[1]+".", nil
		case is != nil:
			out[table+is[1]] = comment{strings.Join(text, " "), is[2]}
		case strings.HasPrefix(line, "# "):
			if key {
				text = nil
			}
			text = append(text, line[2:])
		default:
			text = nil
		}
		key = is != nil
	}
	return out
}
