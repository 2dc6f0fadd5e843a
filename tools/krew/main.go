// Command krew checks a manifest of krew before anybody else does: `krew MANIFEST FOLDER`.
//
// In go the manifest and the folder with the archives that it names. Out comes a line for each thing that krew's own check of a manifest
// (validate-krew-manifest, 0.4.5) would refuse or warn of, and what an index of plugins asks for beside that: a license, and archives that are there.
//
// It must not ask a server: krew's own check installs what it has fetched, and here nothing has been published yet.
//
// Start reading at check.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "krew: usage: krew MANIFEST FOLDER")
		os.Exit(2)
	}
	manifest, folder := os.Args[1], os.Args[2]
	text, err := os.ReadFile(manifest)
	if err != nil {
		fmt.Fprintln(os.Stderr, "krew:", err)
		os.Exit(1)
	}
	wrong := check(filepath.Base(manifest), text, func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(folder, name)) })
	for _, w := range wrong {
		fmt.Fprintf(os.Stderr, "krew: %s: %s\n", filepath.Base(manifest), w)
	}
	if len(wrong) > 0 {
		os.Exit(1)
	}
}

// plugin is a manifest (v1alpha2).
type plugin struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Version          string     `json:"version"`
		Homepage         string     `json:"homepage"`
		ShortDescription string     `json:"shortDescription"`
		Description      string     `json:"description"`
		Caveats          string     `json:"caveats"`
		Platforms        []platform `json:"platforms"`
	} `json:"spec"`
}

type platform struct {
	Selector *struct {
		MatchLabels map[string]string `json:"matchLabels"`
	} `json:"selector"`
	URI    string `json:"uri"`
	SHA256 string `json:"sha256"`
	Bin    string `json:"bin"`
	Files  *[]struct {
		From string `json:"from"`
		To   string `json:"to"`
	} `json:"files"`
}

var (
	safeName = regexp.MustCompile(`^[\w-]+$`)
	devices  = regexp.MustCompile(`(?i)^(con|prn|aux|nul|(com|lpt)[1-9])$`) // files of these names cannot be made on Windows
	// semantic is a version by semver.org, with the v that krew wants.
	semantic = regexp.MustCompile(`^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`)
	sum      = regexp.MustCompile(`^[a-f0-9]{64}$`)
	systems  = []string{"linux/amd64", "linux/arm64", "linux/arm", "linux/386", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/386"}
)

// check says what is wrong with a manifest; nil: nothing is. archive gives the bytes of an archive by its name.
func check(file string, text []byte, archive func(name string) ([]byte, error)) (wrong []string) {
	say := func(is bool, format string, args ...any) {
		if is {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	var p plugin
	if err := yaml.UnmarshalStrict(text, &p); err != nil {
		return []string{"reading it: " + err.Error()}
	}
	name, s := p.Metadata.Name, p.Spec
	say(p.APIVersion != "krew.googlecontainertools.github.com/v1alpha2", "apiVersion is %q", p.APIVersion)
	say(p.Kind != "Plugin", "kind is %q", p.Kind)
	say(!safeName.MatchString(name) || devices.MatchString(name), "%q cannot be the name of a plugin", name)
	say(file != name+".yaml", "the file of plugin %q is called %q", name, file)
	say(!semantic.MatchString(s.Version), "version %q is no semantic version with a v before it", s.Version)
	short := s.ShortDescription
	say(short == "" || strings.ContainsAny(short, "\r\n") || len(short) > 50 || strings.HasSuffix(short, "."), "shortDescription %q is not one line of 50 bytes at most, without a full stop", short)
	say(s.Description == "", "description is empty")
	for key, lines := range map[string]string{"description": s.Description, "caveats": s.Caveats} {
		say(slices.ContainsFunc(strings.Split(lines, "\n"), func(l string) bool { return len(l) > 80 && strings.Contains(strings.TrimSpace(l), " ") }), "%s has a line of more than 80 bytes", key)
	}
	say(len(s.Platforms) == 0, "there is no platform")
	taken := map[string]bool{}
	for i, one := range s.Platforms {
		for _, w := range one.check(taken, archive) {
			say(true, "platforms[%d]: %s", i, w)
		}
	}
	slices.Sort(wrong)
	return wrong
}

func (p platform) check(taken map[string]bool, archive func(name string) ([]byte, error)) (wrong []string) {
	say := func(is bool, format string, args ...any) {
		if is {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	if p.Selector == nil || len(p.Selector.MatchLabels) != 2 {
		return []string{"selector does not have matchLabels os and arch, and no others"}
	}
	system := p.Selector.MatchLabels["os"] + "/" + p.Selector.MatchLabels["arch"]
	say(!slices.Contains(systems, system), "selector: krew knows no %s", system)
	say(taken[system], "selector: %s is there twice", system)
	taken[system] = true
	say(!strings.HasPrefix(p.URI, "https://"), "uri %q is not https://", p.URI)
	say(!sum.MatchString(p.SHA256), "sha256 %q is no checksum", p.SHA256)
	say(p.Bin == "" || path.IsAbs(p.Bin) || strings.HasPrefix(path.Clean(p.Bin), ".."), "bin %q is no path within the archive", p.Bin)
	if p.Files != nil {
		say(len(*p.Files) == 0, "files is empty: leave it out")
		for _, f := range *p.Files {
			say(f.From == "" || f.To == "", "files: from %q to %q", f.From, f.To)
		}
	}
	data, err := archive(path.Base(p.URI))
	if err != nil {
		return append(wrong, "its archive: "+err.Error())
	}
	got := sha256.Sum256(data)
	say(hex.EncodeToString(got[:]) != p.SHA256, "sha256 is not that of %s", path.Base(p.URI))
	modes, err := list(data)
	if err != nil {
		return append(wrong, "its archive: "+err.Error())
	}
	say(p.Files == nil && modes[path.Clean(p.Bin)]&0o111 == 0, "bin %q is no program in the archive", p.Bin)
	_, licensed := modes["LICENSE"]
	say(!licensed, "the archive has no LICENSE")
	return wrong
}

// list gives the modes of the files of a .tar.gz.
func list(data []byte) (map[string]int64, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("unpacking: %w", err)
	}
	all := map[string]int64{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("unpacking: %w", err)
		}
		if h.Typeflag == tar.TypeReg {
			all[path.Clean(h.Name)] = h.Mode
		}
	}
}
