package host

import (
	"bufio"
	"bytes"
	"strings"
)

// Ini calls each for every assignment of a file with sections. Comments are left out. An error of
// each ends the walk.
func Ini(data []byte, each func(section, key, value string) error) error {
	section := ""
	return Lines(data, func(line string) error {
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			section = line[1 : len(line)-1]
			return nil
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil
		}
		return each(section, strings.TrimSpace(key), strings.TrimSpace(value))
	})
}

// Lines calls each for every line that is neither empty nor a comment. Lines come trimmed. An error
// of each ends the walk.
func Lines(data []byte, each func(line string) error) error {
	s := bufio.NewScanner(bytes.NewReader(data))
	s.Buffer(nil, maxFile)
	for s.Scan() {
		line := strings.TrimSpace(s.Text())
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if err := each(line); err != nil {
			return err
		}
	}
	return s.Err()
}

// Joined gives the lines of a file without comments and trimmed. A line that ends in a backslash
// comes together with the next one. A comment between two such lines does not part them
// (systemd.syntax(7)). Empty lines are among them.
func Joined(data []byte) (out []string) {
	open := false
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line != "" && (line[0] == '#' || line[0] == ';') {
			continue
		}
		line, more := strings.CutSuffix(line, `\`)
		if open {
			out[len(out)-1] += " " + line
		} else {
			out = append(out, line)
		}
		open = more
	}
	return out
}

// Truth reads a boolean as systemd does (systemd.syntax(7)).
func Truth(s string) bool {
	switch strings.ToLower(s) {
	case "1", "yes", "y", "true", "t", "on":
		return true
	}
	return false
}
