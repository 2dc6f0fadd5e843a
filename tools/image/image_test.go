package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// makeImage runs the command on this test's own binary, and gives what it wrote.
func makeImage(t *testing.T, arguments ...string) map[string][]byte {
	t.Helper()
	t.Setenv("SOURCE_DATE_EPOCH", "1764000000")
	dir := t.TempDir()
	licenses := filepath.Join(dir, "LICENSES")
	if err := os.WriteFile(licenses, []byte("licenses\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "out")
	if err := os.Mkdir(out, 0o700); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-level", "1", "-name", "localhost/thing", "-tag", "1.2.3", "-title", "a thing", "-command", "thing", "-user", "65532:65532",
		"-licenses", licenses, "-dir", out}, arguments...)
	if err := run(args, io.Discard); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, path := range glob(t, filepath.Join(out, "*")) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(path)] = data
	}
	return files
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheSameInputMakesTheSameBytes(t *testing.T) {
	first := makeImage(t, "amd64="+self(t), "arm64="+self(t))
	second := makeImage(t, "arm64="+self(t), "amd64="+self(t))
	for _, name := range []string{"thing_1.2.3.oci.tar", "thing_1.2.3_amd64.spdx.json", "thing_1.2.3_arm64.spdx.json"} {
		if len(first[name]) == 0 {
			t.Errorf("%s was not made", name)
		}
		if !bytes.Equal(first[name], second[name]) {
			t.Errorf("%s differs from run to run", name)
		}
	}
}

// untar gives the files of an archive, and its headers.
func untar(t *testing.T, data []byte) (map[string][]byte, map[string]*tar.Header) {
	t.Helper()
	files, headers := map[string][]byte{}, map[string]*tar.Header{}
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files, headers
		}
		if err != nil {
			t.Fatal(err)
		}
		if headers[h.Name] = h; h.Typeflag == tar.TypeReg {
			if files[h.Name], err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestTheArchiveIsWhatItsIndexSays(t *testing.T) {
	archive, _ := untar(t, makeImage(t, "-level", "0", "amd64="+self(t), "arm64="+self(t))["thing_1.2.3.oci.tar"])
	read := func(d descriptor, v any) []byte {
		t.Helper()
		data := archive["blobs/"+strings.ReplaceAll(d.Digest, ":", "/")]
		if digest(data) != d.Digest || len(data) != d.Size {
			t.Fatalf("blob %s has %d bytes and digest %s, want %d", d.Digest, len(data), digest(data), d.Size)
		}
		if v != nil {
			if err := json.Unmarshal(data, v); err != nil {
				t.Fatal(err)
			}
		}
		return data
	}
	var entry, architectures index
	if err := json.Unmarshal(archive["index.json"], &entry); err != nil {
		t.Fatal(err)
	}
	if got := entry.Manifests[0].Annotations["io.containerd.image.name"]; got != "localhost/thing:1.2.3" {
		t.Errorf("the image is called %q", got)
	}
	read(entry.Manifests[0], &architectures)
	var have []string
	for _, d := range architectures.Manifests {
		have = append(have, d.Platform.OS+"/"+d.Platform.Architecture)
		var m manifest
		var c config
		read(d, &m)
		read(m.Config, &c)
		if c.Config.User != "65532:65532" || !slices.Equal(c.Config.Entrypoint, []string{"/thing"}) || c.Architecture != d.Platform.Architecture {
			t.Errorf("%s runs %v as %q on %s", d.Platform.Architecture, c.Config.Entrypoint, c.Config.User, c.Architecture)
		}
		z, err := gzip.NewReader(bytes.NewReader(read(m.Layers[0], nil)))
		if err != nil {
			t.Fatal(err)
		}
		layer, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		if digest(layer) != c.RootFS.DiffIDs[0] {
			t.Errorf("the layer's digest is %s, the configuration says %s", digest(layer), c.RootFS.DiffIDs[0])
		}
		_, headers := untar(t, layer)
		if h := headers["thing"]; h == nil || h.Mode != 0o755 || h.Uid != 0 {
			t.Errorf("the binary is %+v, want root's, 0755", h)
		}
		for _, name := range []string{"usr/share/doc/thing/LICENSES", "usr/share/doc/thing/thing.spdx.json"} {
			if headers[name] == nil {
				t.Errorf("%s is not in the image", name)
			}
		}
	}
	if want := []string{"linux/amd64", "linux/arm64"}; !slices.Equal(have, want) {
		t.Errorf("the image is for %v, want %v", have, want)
	}
}

func TestTheBillNamesEveryModule(t *testing.T) {
	var d document
	if err := json.Unmarshal(makeImage(t, "-level", "0", "amd64="+self(t))["thing_1.2.3_amd64.spdx.json"], &d); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{d.ID: true}
	for _, p := range d.Packages {
		if ids[p.ID] {
			t.Errorf("%s is there twice", p.ID)
		}
		ids[p.ID] = true
	}
	for _, r := range d.Relations {
		if !ids[r.From] || !ids[r.To] {
			t.Errorf("the relation of %s and %s is one to nothing", r.From, r.To)
		}
	}
	if !slices.ContainsFunc(d.Packages, func(c component) bool { return c.Name == "stdlib" && c.Version != "" }) {
		t.Error("the standard library is not on the bill")
	}
	if len(d.Relations) != len(d.Packages) {
		t.Errorf("%d relations of %d packages", len(d.Relations), len(d.Packages))
	}
}

func TestAFileThatIsNoGoBinaryIsRefused(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1764000000")
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := run([]string{"-name", "thing", "-tag", "1", "-command", "thing", "-licenses", script, "-dir", t.TempDir(), "amd64=" + script}, io.Discard)
	if err == nil {
		t.Error("a script was made into an image")
	}
}
