package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

func packed(t *testing.T, modes map[string]int64) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for name, mode := range modes {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestAManifestIsCheckedAsStrictlyAsByKrew(t *testing.T) {
	good, bad := packed(t, map[string]int64{"kubectl-x": 0o755, "LICENSE": 0o644}), packed(t, map[string]int64{"kubectl-x": 0o644})
	archives := map[string][]byte{"good.tar.gz": good, "bad.tar.gz": bad, "none.tar.gz": []byte("none")}
	hash := func(data []byte) string { s := sha256.Sum256(data); return hex.EncodeToString(s[:]) }
	manifest := `apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: x-y
spec:
  version: v1.2.3
  shortDescription: Look at it
  description: |
    It shows.
  caveats: |
    Nothing.
  platforms:
  - selector:
      matchLabels:
        os: linux
        arch: amd64
    uri: https://example.org/good.tar.gz
    sha256: ` + hash(good) + `
    bin: kubectl-x
`
	second := manifest[strings.Index(manifest, "  - selector"):]
	row := func(old, new string) [2]string { return [2]string{old, new} }
	for name, tt := range map[string]struct {
		change [2]string
		want   string // a part of the one thing that is wrong; "": nothing is
	}{
		"as it is":                   {row("", ""), ""},
		"a pre-release":              {row("v1.2.3", "v1.2.3-rc.1+5"), ""},
		"another architecture":       {row(second, second+strings.Replace(second, "amd64", "arm64", 1)), ""},
		"files":                      {row("    bin: kubectl-x\n", "    bin: kubectl-x\n    files: [{from: \"*\", to: .}]\n"), ""},
		"no YAML":                    {row("kind:", "kind: ["), "reading it"},
		"a field that krew has not":  {row("kind: Plugin", "kind: Plugin\nversion: 1"), "unknown field"},
		"another version of the API": {row("v1alpha2", "v1alpha3"), "apiVersion"},
		"another kind":               {row("kind: Plugin", "kind: Receipt"), "kind is"},
		"a name that is no file":     {row("x-y", "../x"), "cannot be the name"},
		"a name with a dot":          {row("x-y", "x.y"), "cannot be the name"},
		"a device of Windows":        {row("x-y", "Nul"), "cannot be the name"},
		"another name":               {row("x-y", "x-z"), `is called "x-y.yaml"`},
		"no v":                       {row("v1.2.3", "1.2.3"), "no semantic version"},
		"two numbers":                {row("v1.2.3", "v1.2"), "no semantic version"},
		"a zero in front":            {row("v1.2.3", "v1.02.3"), "no semantic version"},
		"no version":                 {row("v1.2.3", `""`), "no semantic version"},
		"no short description":       {row("Look at it", `""`), "shortDescription"},
		"a long one":                 {row("Look at it", strings.Repeat("Look ", 11)), "shortDescription"},
		"one of two lines":           {row("Look at it", `"a\nb"`), "shortDescription"},
		"one with a full stop":       {row("Look at it", "Look at it."), "shortDescription"},
		"no description":             {row("|\n    It shows.", `""`), "description is empty"},
		"a long line":                {row("Nothing.", strings.Repeat("no ", 30)), "caveats has a line"},
		"no platform":                {row(second, ""), "no platform"},
		"no selector":                {row("selector:\n      matchLabels:\n        os: linux\n        arch: amd64\n    ", ""), "selector does not have"},
		"an empty selector":          {row("matchLabels:\n        os: linux\n        arch: amd64", "matchLabels: {}"), "selector does not have"},
		"another label":              {row("        arch: amd64", "        arch: amd64\n        libc: musl"), "selector does not have"},
		"a system that is none":      {row("linux", "plan9"), "krew knows no plan9/amd64"},
		"the same system twice":      {row(second, second+second), "linux/amd64 is there twice"},
		"no uri":                     {row("uri: https://example.org/good.tar.gz", "uri: good.tar.gz"), "is not https://"},
		"an archive that is not":     {row("good.tar.gz", "gone.tar.gz"), "its archive: gone"},
		"no archive":                 {row("https://example.org/good.tar.gz\n    sha256: "+hash(good), "https://example.org/none.tar.gz\n    sha256: "+hash([]byte("none"))), "unpacking"},
		"another checksum":           {row(hash(good), hash(bad)), "sha256 is not that of good.tar.gz"},
		"no bin":                     {row("bin: kubectl-x", "bin: ../kubectl-x"), "no path within the archive"},
		"a bin that is not there":    {row("bin: kubectl-x", "bin: kubectl-z"), "no program in the archive"},
		"empty files":                {row("bin: kubectl-x", "bin: kubectl-x\n    files: []"), "files is empty"},
		"files to nowhere":           {row("bin: kubectl-x", "bin: kubectl-x\n    files: [{from: a}]"), `from "a" to ""`},
	} {
		text := strings.Replace(manifest, tt.change[0], tt.change[1], 1)
		if name != "as it is" && text == manifest {
			t.Fatalf("%s: nothing is changed", name)
		}
		wrong := strings.Join(check("x-y.yaml", []byte(text), func(name string) ([]byte, error) {
			if data, ok := archives[name]; ok {
				return data, nil
			}
			return nil, errors.New(name)
		}), "\n")
		if tt.want == "" && wrong != "" || !strings.Contains(wrong, tt.want) {
			t.Errorf("%s: it says %q, want %q", name, wrong, tt.want)
		}
	}
	text := strings.Replace(manifest, "https://example.org/good.tar.gz\n    sha256: "+hash(good), "https://example.org/bad.tar.gz\n    sha256: "+hash(bad), 1)
	wrong := strings.Join(check("x-y.yaml", []byte(text), func(string) ([]byte, error) { return bad, nil }), "; ")
	if wrong != `platforms[0]: bin "kubectl-x" is no program in the archive; platforms[0]: the archive has no LICENSE` {
		t.Errorf("of an archive without a program and a license it says %q", wrong)
	}
}
