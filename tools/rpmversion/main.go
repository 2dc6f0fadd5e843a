// Command rpmversion writes one and the same version of rpm into the packages that rpmbuild has
// built. rpmbuild of Debian 12 and rpmbuild of Debian 13 then make the same bytes.
//
// In go the paths of packages without a signature; the files are changed in their place. The format
// is that of rpm.org, "RPM V4 Package format".
//
// It must change nothing but the version and the three digests that cover it, and it moves nothing.
// A package by an rpm whose version has another length is left as it is, and it says so.
//
// Start reading at rewrite.
package main

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
)

// version is that of Debian 12.
const version = "4.18.0"

// Tags of the header, and of the signature before it.
const (
	tagRPMVersion = 1064
	tagMD5        = 1004 // of header and payload
	tagSHA1       = 269  // of the header, as text
	tagSHA256     = 273  // of the header, as text
	leadSize      = 96
)

// signatures are the tags of OpenPGP signatures, which would no longer be good.
var signatures = []uint32{267, 268, 1002, 1005}

var errLength = errors.New("its version has another length")

func main() {
	for _, path := range os.Args[1:] {
		if err := run(path); err != nil {
			fmt.Fprintf(os.Stderr, "rpmversion: %s: %v\n", path, err)
			if !errors.Is(err, errLength) {
				os.Exit(1)
			}
		}
	}
}

func run(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := rewrite(data); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

// rewrite changes a package in memory. Where it fails the package is as it was.
func rewrite(data []byte) error {
	sig, next, err := parse(data, leadSize)
	if err != nil {
		return fmt.Errorf("reading the signature: %w", err)
	}
	for _, tag := range signatures {
		if sig[tag] != nil {
			return errors.New("reading the signature: the package is signed")
		}
	}
	begin := (next + 7) / 8 * 8 // what follows the signature is aligned
	header, end, err := parse(data, begin)
	if err != nil {
		return fmt.Errorf("reading the header: %w", err)
	}
	built := header[tagRPMVersion]
	if len(built) != len(version) {
		return fmt.Errorf("built by rpm %s, not the same bytes as by other rpms: %w", built, errLength)
	}
	if len(sig[tagMD5]) != md5.Size || len(sig[tagSHA1]) != 2*sha1.Size || len(sig[tagSHA256]) != 2*sha256.Size {
		return errors.New("reading the signature: a digest is not there")
	}
	copy(built, version)
	all, one, two := md5.Sum(data[begin:]), sha1.Sum(data[begin:end]), sha256.Sum256(data[begin:end])
	copy(sig[tagMD5], all[:])
	hex.Encode(sig[tagSHA1], one[:])
	hex.Encode(sig[tagSHA256], two[:])
	return nil
}

// parse gives the texts and the bytes of the header that begins there, by their tags, and where it
// ends. They share their memory with data.
func parse(data []byte, begin int) (values map[uint32][]byte, end int, err error) {
	short := errors.New("it is cut off, or no package")
	if len(data) < begin+16 || !bytes.HasPrefix(data[begin:], []byte{0x8e, 0xad, 0xe8, 1}) {
		return nil, 0, short
	}
	number := func(at int) int { return int(binary.BigEndian.Uint32(data[at:])) }
	entries := begin + 16
	store := entries + 16*number(begin+8)
	end = store + number(begin+12)
	if end > len(data) {
		return nil, 0, short
	}
	const text, binaryData = 6, 7
	values = map[uint32][]byte{}
	for at := entries; at < store; at += 16 {
		from, size := store+number(at+8), number(at+12)
		if from > end {
			return nil, 0, short
		}
		switch kind := number(at + 4); {
		case kind == text:
			size = bytes.IndexByte(data[from:end], 0)
		case kind != binaryData:
			continue
		}
		if size < 0 || from+size > end {
			return nil, 0, short
		}
		values[binary.BigEndian.Uint32(data[at:])] = data[from : from+size]
	}
	return values, end, nil
}
