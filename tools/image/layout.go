package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// Media types and fields are those of the OCI image specification 1.1
// (github.com/opencontainers/image-spec: config.md, manifest.md, image-index.md,
// image-layout.md).
const (
	indexType    = "application/vnd.oci.image.index.v1+json"
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    *platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

type index struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Manifests     []descriptor      `json:"manifests"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        descriptor        `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type config struct {
	platform
	Created time.Time `json:"created"`
	Config  struct {
		User       string            `json:"User,omitempty"`
		Entrypoint []string          `json:"Entrypoint"`
		WorkingDir string            `json:"WorkingDir"`
		Labels     map[string]string `json:"Labels"`
	} `json:"config"`
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
	History []history `json:"history"`
}

type history struct {
	Created   time.Time `json:"created"`
	CreatedBy string    `json:"created_by"`
}

// layout is the content of an archive: blobs by their digest.
type layout struct{ blobs map[string][]byte }

func digest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

func (l *layout) add(mediaType string, data []byte) descriptor {
	d := descriptor{MediaType: mediaType, Digest: digest(data), Size: len(data)}
	l.blobs[d.Digest] = data
	return d
}

func (l *layout) addJSON(mediaType string, v any) (descriptor, error) {
	data, err := json.Marshal(v)
	return l.add(mediaType, data), err
}

func (i image) annotations() map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":       path.Base(i.name),
		"org.opencontainers.image.description": i.title,
		"org.opencontainers.image.version":     i.tag,
		"org.opencontainers.image.created":     i.created.Format(time.RFC3339),
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
}

// manifest makes the image of one architecture: one layer, with the binary, the
// licenses and the bill of materials.
func (i image) manifest(l *layout, b binary, bill []byte) (descriptor, error) {
	doc := "usr/share/doc/" + i.command + "/"
	layer, err := tarOf(i.created, []file{
		{i.command, b.data, 0o755},
		{doc + "LICENSES", i.licenses, 0o644},
		{doc + i.command + ".spdx.json", bill, 0o644},
	})
	if err != nil {
		return descriptor{}, err
	}
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, i.level)
	if err != nil {
		return descriptor{}, err
	}
	if _, err := z.Write(layer); err != nil {
		return descriptor{}, err
	}
	if err := z.Close(); err != nil {
		return descriptor{}, err
	}
	c := config{platform: platform{b.arch, "linux"}, Created: i.created}
	c.Config.User, c.Config.Entrypoint, c.Config.WorkingDir, c.Config.Labels = i.user, []string{"/" + i.command}, "/", i.annotations()
	c.RootFS.Type, c.RootFS.DiffIDs = "layers", []string{digest(layer)}
	c.History = []history{{i.created, "make image"}}
	configuration, err := l.addJSON(configType, c)
	if err != nil {
		return descriptor{}, err
	}
	d, err := l.addJSON(manifestType, manifest{
		SchemaVersion: 2, MediaType: manifestType, Config: configuration,
		Layers: []descriptor{l.add(layerType, packed.Bytes())}, Annotations: i.annotations(),
	})
	d.Platform = &c.platform
	return d, err
}

// archive is the tar file: blobs, an index over the architectures, and an index
// of that one index, which says its name. containerd takes the name from an
// annotation of its own, the others from that of the specification.
func (l *layout) archive(i image, manifests []descriptor) ([]byte, error) {
	all, err := l.addJSON(indexType, index{SchemaVersion: 2, MediaType: indexType, Manifests: manifests, Annotations: i.annotations()})
	if err != nil {
		return nil, err
	}
	all.Annotations = map[string]string{
		"org.opencontainers.image.ref.name": i.tag,
		"io.containerd.image.name":          i.name + ":" + i.tag,
	}
	entry, err := json.Marshal(index{SchemaVersion: 2, MediaType: indexType, Manifests: []descriptor{all}})
	if err != nil {
		return nil, err
	}
	files := []file{{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644}, {"index.json", entry, 0o644}}
	for _, digest := range slices.Sorted(maps.Keys(l.blobs)) {
		files = append(files, file{"blobs/" + strings.ReplaceAll(digest, ":", "/"), l.blobs[digest], 0o644})
	}
	return tarOf(i.created, files)
}

type file struct {
	name string
	data []byte
	mode int64
}

// tarOf has the files in their order, root's, with the folders that they need
// before them.
func tarOf(modified time.Time, files []file) ([]byte, error) {
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	made := map[string]bool{".": true}
	var folders func(name string) error
	folders = func(name string) error {
		if made[name] {
			return nil
		}
		made[name] = true
		if err := folders(path.Dir(name)); err != nil {
			return err
		}
		return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: modified, Format: tar.FormatUSTAR})
	}
	for _, f := range files {
		if err := folders(path.Dir(f.name)); err != nil {
			return nil, err
		}
		header := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.data)), ModTime: modified, Format: tar.FormatUSTAR}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return buffer.Bytes(), err
}
