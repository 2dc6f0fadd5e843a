// Package examples gives programs the examples of this folder that they fill in.
//
// In goes what a machine needs in order to join; out comes user data for cloud-init, made of
// cloud-init/join-token.yaml or of a template that a user has made of another example.
//
// It must not hold a second copy of anything: what `multinic-bridge token create` prints is the
// example, filled in.
//
// Start reading at cloud-init/join-token.yaml.
package examples

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// JoinToken is the text of cloud-init/join-token.yaml: user data for a machine that has multinicd.
//
//go:embed cloud-init/join-token.yaml
var JoinToken string

// ErrTemplate is wrapped by errors about a template that cannot be filled in.
var ErrTemplate = errors.New("the template cannot be filled in")

// Join is what user data needs in order to let a machine join.
type Join struct {
	Node    string // name of the node
	Server  string // URL of the API server
	CAHash  string // of the CA in File
	File    []byte // the join file; it holds a secret
	Expires time.Time
}

var (
	marker   = regexp.MustCompile(`@[A-Z_]+@`)
	joinFile = regexp.MustCompile(`(?m)^( *)@JOIN_FILE@\n`)
)

// Fill puts the values of a join in the places of a template's markers: @NODE@, @SERVER@, @CA_HASH@
// and @EXPIRES@, and @JOIN_FILE@, which stands once on a line of its own, indented as the file is to
// be. The others stand between double quotes, or in a comment. The error is ErrTemplate if there is no such line, or if there is another marker. It never has
// the join file in it.
func (j Join) Fill(template string) (string, error) {
	if strings.Count(template, "@JOIN_FILE@") != 1 || !joinFile.MatchString(template) {
		return "", fmt.Errorf("%w: it needs @JOIN_FILE@ once, on a line of its own", ErrTemplate)
	}
	values := map[string]string{
		"@NODE@": j.Node, "@SERVER@": j.Server, "@CA_HASH@": j.CAHash, "@EXPIRES@": j.Expires.UTC().Format(time.RFC3339), "@JOIN_FILE@": "@JOIN_FILE@",
	}
	for _, m := range marker.FindAllString(template, -1) {
		if values[m] == "" {
			return "", fmt.Errorf("%w: nothing is known for %s", ErrTemplate, m)
		}
	}
	text := marker.ReplaceAllStringFunc(template, func(m string) string { return quoted(values[m]) })
	return joinFile.ReplaceAllStringFunc(text, func(line string) string {
		return indent(string(j.File), line[:strings.IndexByte(line, '@')])
	}), nil
}

// quoted is a text as it stands between double quotes in YAML, and in TOML.
func quoted(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		return "" // no string has an error
	}
	return string(b[1 : len(b)-1])
}

func indent(text, by string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(by + line)
	}
	return b.String()
}
