package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	v1 "multinicd/api/v1"
)

// cloudFile is where cloud-init puts the join file: in memory, so that it is gone after the next
// boot.
const cloudFile = "/run/multinicd-join"

// cloudConfig is user data by which a machine joins. It holds the token.
func cloudConfig(node string, expires time.Time, file v1.JoinFile, server, hash string) (string, error) {
	// A list in JSON is one in YAML, too, and each word is quoted.
	command, err := json.Marshal(joinWords(server, cloudFile, hash))
	if err != nil {
		return "", fmt.Errorf("quoting the command: %w", err)
	}
	return fmt.Sprintf(`#cloud-config
# Lets this machine join as node %s: good for one join, until %s.
write_files:
- path: %s
  permissions: "0600"
  content: |
%sruncmd:
- %s
- [rm, -f, %s]

# By hand, with the text below "content: |" in a file of mode 0600 called join:
#   %s
`, node, expires.UTC().Format(time.RFC3339), cloudFile, indent(string(file.Encode()), "    "),
		command, cloudFile, joinLine(server, "join", hash)), nil
}

// checkServer says what is wrong with the URL of an API server. It goes into user data, and into a
// line for a shell.
func checkServer(server string) error {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%w: the API server's URL %q does not begin with https://: say it with --server", errUsage, server)
	}
	if strings.ContainsFunc(server, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("%w: the API server's URL %q has characters that are not in ASCII, or blanks", errUsage, server)
	}
	return nil
}

func joinWords(server, file, hash string) []string {
	return []string{"multinicd", "join", "--server", server, "--token-file", file, "--ca-hash", hash}
}

// joinLine is the command for a shell.
func joinLine(server, file, hash string) string {
	words := joinWords(server, file, hash)
	for i, word := range words {
		if !plainWord.MatchString(word) {
			words[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// plainWord needs no quotes in a shell.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

func indent(text, by string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(by + line)
	}
	return b.String()
}

// writeSecret replaces a file by one of mode 0600.
func writeSecret(path string, data []byte) (err error) {
	// 0600 from the start
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return fmt.Errorf("writing the join file: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing the join file: %w", errors.Join(err, temp.Close(), os.Remove(temp.Name())))
		}
	}()
	if _, err := temp.Write(data); err != nil {
		return err
	}
	if err := temp.Sync(); err != nil {
		return err
	}
	return errors.Join(os.Rename(temp.Name(), path), temp.Close())
}
