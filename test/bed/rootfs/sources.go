package rootfs

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// source is one place that apt takes packages from.
type source struct{ uri, suite string }

// sources are those of this machine, in the order of its files.
type sources []source

// aptSources reads the sources of the apt below root, of both forms that sources.list(5) knows.
func aptSources(root string) (sources, error) {
	var found sources
	lists, err := filepath.Glob(filepath.Join(root, "etc/apt/sources.list.d/*"))
	if err != nil {
		return nil, fmt.Errorf("listing apt sources: %w", err)
	}
	for _, path := range append([]string{filepath.Join(root, "etc/apt/sources.list")}, lists...) {
		parse := map[string]func(string) sources{".list": parseList, ".sources": parseDeb822}[filepath.Ext(path)]
		if parse == nil {
			continue
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading apt sources: %w", err)
		}
		found = append(found, parse(string(b))...)
	}
	return found, nil
}

// parseList reads lines as "deb [option=value...] URI SUITE COMPONENT...".
func parseList(text string) sources {
	var found sources
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		line, ok := strings.CutPrefix(strings.TrimSpace(line), "deb ")
		if !ok {
			continue
		}
		if _, rest, ok := strings.Cut(line, "]"); ok {
			line = rest
		}
		fields := strings.Fields(line)
		if len(fields) > 2 && slices.Contains(fields[2:], "main") {
			found = append(found, source{uri: fields[0], suite: fields[1]})
		}
	}
	return found
}

// parseDeb822 reads stanzas of "Field: values", each of which may go on in indented lines.
func parseDeb822(text string) sources {
	var found sources
	fields := map[string]string{}
	var field string
	take := func() {
		words := func(name string) []string { return strings.Fields(fields[name]) }
		if slices.Contains(words("types"), "deb") && slices.Contains(words("components"), "main") && fields["enabled"] != "no" {
			for _, uri := range words("uris") {
				for _, suite := range words("suites") {
					found = append(found, source{uri: uri, suite: suite})
				}
			}
		}
		fields, field = map[string]string{}, ""
	}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		line := lines.Text()
		switch {
		case strings.TrimSpace(line) == "":
			take()
		case strings.HasPrefix(line, "#"):
		case line[0] == ' ' || line[0] == '\t':
			fields[field] += " " + strings.TrimSpace(line)
		default:
			name, value, _ := strings.Cut(line, ":")
			field = strings.ToLower(strings.TrimSpace(name))
			fields[field] = strings.TrimSpace(value)
		}
	}
	take()
	return found
}

// lines are what mmdebstrap is given for a suite: the mirrors of this machine's own Debian, for that suite.
// $MULTINICD_MIRROR and $MULTINICD_SECURITY_MIRROR win, for a machine that is not a Debian.
func (s sources) lines(suite string) ([]string, error) {
	mirror, security := os.Getenv("MULTINICD_MIRROR"), os.Getenv("MULTINICD_SECURITY_MIRROR")
	for _, have := range s {
		codename, isSecurity := strings.CutSuffix(have.suite, "-security")
		switch {
		case isSecurity && security == "" && s.has("", codename+"-updates"):
			security = have.uri
		// Third parties use Debian's codenames too, but have no updates beside them.
		case mirror == "" && s.has(have.uri, have.suite+"-updates"):
			mirror = have.uri
		}
	}
	if mirror == "" {
		return nil, errors.New("finding a Debian mirror: none of apt's sources has a suite with its -updates; set MULTINICD_MIRROR (and MULTINICD_SECURITY_MIRROR) to URLs")
	}
	if suite == Testing {
		return []string{"deb " + mirror + " " + suite + " main"}, nil
	}
	lines := []string{"deb " + mirror + " " + suite + " main", "deb " + mirror + " " + suite + "-updates main"}
	if security != "" {
		lines = append(lines, "deb "+security+" "+suite+"-security main")
	}
	return lines, nil
}

// has tells whether there is a source with that suite; an empty uri is any.
func (s sources) has(uri, suite string) bool {
	return slices.ContainsFunc(s, func(have source) bool {
		return have.suite == suite && (uri == "" || have.uri == uri)
	})
}
