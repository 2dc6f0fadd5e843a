package main

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

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

// joinLine is the command for a shell.
func joinLine(server, file, hash string) string {
	words := []string{"multinicd", "join", "--server", server, "--token-file", file, "--ca-hash", hash}
	for i, word := range words {
		if !plainWord.MatchString(word) {
			words[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// plainWord needs no quotes in a shell.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)
