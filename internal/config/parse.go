package config

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// Parse reads the text of a configuration file. name is used only in messages. There is one message
// for each mistake, in the order of the lines; each begins with the file's base name and the line.
// With an error the Config is zero.
func Parse(name string, text []byte) (Config, error) {
	p := parser{config: Default(), lines: map[string]int{}}
	p.known = p.config.settings()
	p.parse(text)
	if len(p.mistakes) == 0 {
		p.together()
	}
	if len(p.mistakes) == 0 {
		return p.config, nil
	}
	slices.SortStableFunc(p.mistakes, func(a, b mistake) int { return cmp.Compare(a.line, b.line) })
	errs := make([]error, len(p.mistakes))
	for i, m := range p.mistakes {
		errs[i] = fmt.Errorf("%s:%d: %w", filepath.Base(name), m.line, m.err)
	}
	return Config{}, errors.Join(errs...)
}

type mistake struct {
	line int
	err  error
}

type parser struct {
	config   Config
	known    []setting
	meta     toml.MetaData
	lines    map[string]int // of the known keys that the file sets
	mistakes []mistake
}

func (p *parser) parse(text []byte) {
	if len(text) > maxSize {
		p.mistake(1, fmt.Errorf("the file is larger than %d bytes", maxSize))
		return
	}
	var root map[string]toml.Primitive
	meta, err := toml.Decode(string(text), &root)
	if err != nil {
		var syntax toml.ParseError
		if errors.As(err, &syntax) {
			p.mistake(syntax.Position.Line, errors.New(syntax.Message))
			return
		}
		p.mistake(1, err)
		return
	}
	p.meta = meta
	p.table(nil, root)
}

// table walks through a table by hand, although toml can decode into a struct by itself. That way
// gives no line for an unknown key, stops at the first mistake, and takes keys that differ in case.
func (p *parser) table(prefix toml.Key, entries map[string]toml.Primitive) {
	for name, primitive := range entries {
		key := append(slices.Clone(prefix), name)
		full := key.String()
		if i := slices.IndexFunc(p.known, func(s setting) bool { return s.key == full }); i >= 0 {
			value, line := p.value(primitive)
			p.lines[full] = line
			if err := p.known[i].set(value); err != nil {
				p.mistake(line, fmt.Errorf("%s %w", full, err))
			}
			continue
		}
		if slices.ContainsFunc(p.known, func(s setting) bool { return strings.HasPrefix(s.key, full+".") }) {
			value, line := p.value(primitive)
			var inner map[string]toml.Primitive
			// For toml 1.6 it is no error to decode something that is no table into a map. It
			// leaves the map nil.
			if err := p.meta.PrimitiveDecode(primitive, &inner); err != nil || inner == nil {
				p.mistake(line, fmt.Errorf("%s %w", full, wrongType("a table", value)))
				continue
			}
			p.table(key, inner)
			continue
		}
		p.unknown(key, primitive)
	}
}

func (p *parser) unknown(key toml.Key, primitive toml.Primitive) {
	full := key.String()
	value, line := p.value(primitive)
	what := "key"
	if _, ok := value.(map[string]any); ok {
		what = "table"
		// A table that stands only inside the name of another ([a.b]) has no line of its own. The
		// keys in it have one.
		var inner map[string]toml.Primitive
		if line == 0 && p.meta.PrimitiveDecode(primitive, &inner) == nil {
			for name, entry := range inner {
				p.unknown(append(slices.Clone(key), name), entry)
			}
			return
		}
	}
	err := fmt.Errorf("unknown %s %q", what, full)
	if near := Nearest(full, p.names(what)); near != "" {
		err = fmt.Errorf("%w: did you mean %q?", err, near)
	}
	p.mistake(line, err)
}

// names lists the names that a key, or a table, may have.
func (p *parser) names(what string) []string {
	var names []string
	for _, s := range p.known {
		table, _, ok := strings.Cut(s.key, ".")
		switch {
		case what == "key":
			names = append(names, s.key)
		case ok && !slices.Contains(names, table):
			names = append(names, table)
		}
	}
	return names
}

// together checks what can be seen only from several keys.
func (p *parser) together() {
	c := &p.config
	if c.Source.Mode == "file" && c.Source.File == "" {
		p.mistake(p.lines["source.mode"], errors.New(`source.mode is "file": source.file must say which`))
	}
	if c.Source.Mode != "file" && c.Source.File != "" {
		p.mistake(p.lines["source.file"], fmt.Errorf(`source.file counts only with source.mode = "file", and that is %q`, c.Source.Mode))
	}
	if c.API.Server != "" && c.API.Kubeconfig != "" {
		p.mistake(p.lines["api.kubeconfig"], errors.New("api.server and api.kubeconfig exclude each other"))
		return
	}
	if c.API.Server != "" && c.API.TokenFile == "" {
		p.mistake(p.lines["api.server"], errors.New("api.server needs api.token_file beside it"))
	}
	for key, value := range map[string]string{"api.ca_file": c.API.CAFile, "api.token_file": c.API.TokenFile} {
		if c.API.Server == "" && value != "" {
			p.mistake(p.lines[key], fmt.Errorf("%s counts only together with api.server, which is not set", key))
		}
	}
}

func (p *parser) mistake(line int, err error) {
	p.mistakes = append(p.mistakes, mistake{max(line, 1), err})
}

// value returns a primitive's value and the line of its key. The line is 0 for a table without one.
func (p *parser) value(primitive toml.Primitive) (any, int) {
	var v witness
	err := p.meta.PrimitiveDecode(primitive, &v)
	var at toml.ParseError
	if errors.As(err, &at) {
		return v.value, at.Position.Line
	}
	return v.value, 0
}

// witness keeps the value that it gets, and always fails: toml tells the line of a key only in an
// error.
type witness struct{ value any }

func (w *witness) UnmarshalTOML(value any) error {
	w.value = value
	return errors.New("this error is asked for its line")
}

// Nearest returns the name that is the fewest edits away from wrong. It is "" if no name is near
// enough to be meant. The parts after the last dot are also compared alone, because a key in the
// wrong table is a common slip.
func Nearest(wrong string, names []string) string {
	best, bestDistance := "", 3+len(wrong)/8
	for _, name := range names {
		d := min(distance(wrong, name), 1+distance(last(wrong), last(name)))
		if d < bestDistance {
			best, bestDistance = name, d
		}
	}
	return best
}

func last(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// distance counts the insertions, deletions and replacements of bytes between a and b
// (Levenshtein).
func distance(a, b string) int {
	// A text that long is not near any key of ours, and the work is len(a) * len(b).
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
