// Command image makes an OCI image archive of one static binary, for several
// architectures, without a container engine; and beside it a bill of materials
// (SPDX) per architecture.
//
// In go the binaries, the licenses of what is linked into them, a name and a
// tag; out come a tar file in OCI image layout, which containerd, podman, skopeo
// and docker load, and *.spdx.json, which is in the image too.
//
// It must make the same bytes of the same input, wherever and whenever it runs:
// every time in the files is SOURCE_DATE_EPOCH, every list is sorted.
//
// Start reading at run; layout.go has the format, bill.go what a binary is made of.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// image is what to make.
type image struct {
	name, tag  string // "localhost/multinic-bridge", "0.1.0"
	title      string // in one line, for the annotations
	command    string // the binary's name in the image
	user       string // UID:GID; empty is root
	licenses   []byte
	binaries   []binary // sorted by architecture
	created    time.Time
	multiArch  string // file name of the archive
	billPrefix string // file name of a bill, without the architecture
	level      int    // of gzip
}

// binary is one architecture's.
type binary struct {
	arch string // GOARCH
	data []byte
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	name := flags.String("name", "", "the image's `NAME`, without the tag")
	tag := flags.String("tag", "", "the image's tag, which is its version")
	title := flags.String("title", "", "what it is, in a line")
	user := flags.String("user", "", "`UID:GID` that it runs as; empty: root")
	command := flags.String("command", "", "`NAME` of the binary in the image, which is its entrypoint")
	licenses := flags.String("licenses", "", "`FILE` with the licenses of what is linked in")
	dir := flags.String("dir", ".", "`FOLDER` to write to")
	level := flags.Int("level", 6, "how hard to compress, from 0 to 9")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *name == "" || *tag == "" || *command == "" || flags.NArg() == 0 {
		return errors.New("want image -name NAME -tag TAG -command NAME [OPTION]... GOARCH=BINARY")
	}
	created, err := epoch()
	if err != nil {
		return err
	}
	base := filepath.Base(*name)
	i := image{
		name: *name, tag: *tag, title: *title, command: *command, user: *user, created: created, level: *level,
		multiArch:  filepath.Join(*dir, base+"_"+*tag+".oci.tar"),
		billPrefix: filepath.Join(*dir, base+"_"+*tag+"_"),
	}
	if i.licenses, err = os.ReadFile(*licenses); err != nil {
		return fmt.Errorf("reading the licenses: %w", err)
	}
	for _, arg := range flags.Args() {
		arch, path, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("reading %q: want GOARCH=BINARY", arg)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("reading the binary for %s: %w", arch, err)
		}
		i.binaries = append(i.binaries, binary{arch: arch, data: data})
	}
	slices.SortFunc(i.binaries, func(a, b binary) int { return strings.Compare(a.arch, b.arch) })
	return i.write(out)
}

// epoch is SOURCE_DATE_EPOCH, in seconds since 1970; see reproducible-builds.org.
func epoch() (time.Time, error) {
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// write makes the archive and the bills, each beside its place and renamed.
func (i image) write(out io.Writer) error {
	l := layout{blobs: map[string][]byte{}}
	var manifests []descriptor
	for _, b := range i.binaries {
		bill, err := i.bill(b)
		if err != nil {
			return fmt.Errorf("writing the bill of materials for %s: %w", b.arch, err)
		}
		manifest, err := i.manifest(&l, b, bill)
		if err != nil {
			return fmt.Errorf("making the image for %s: %w", b.arch, err)
		}
		manifests = append(manifests, manifest)
		if err := replace(out, i.billPrefix+b.arch+".spdx.json", bill); err != nil {
			return err
		}
	}
	archive, err := l.archive(i, manifests)
	if err != nil {
		return fmt.Errorf("making the archive: %w", err)
	}
	return replace(out, i.multiArch, archive)
}

// replace writes a file so that nobody sees half of it, and says so.
func replace(out io.Writer, path string, data []byte) error {
	temp := path + ".new"
	if err := os.WriteFile(temp, data, 0o644); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	fmt.Fprintln(out, path)
	return nil
}
