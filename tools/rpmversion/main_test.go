package main

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

type entry struct {
	tag, kind uint32
	value     string
}

// header is one of a package, without what aligns the next one.
func header(entries ...entry) []byte {
	var index, store []byte
	for _, e := range entries {
		for _, n := range []uint32{e.tag, e.kind, uint32(len(store)), uint32(len(e.value))} {
			index = binary.BigEndian.AppendUint32(index, n)
		}
		if store = append(store, e.value...); e.kind == 6 {
			store = append(store, 0)
		}
	}
	out := []byte{0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0}
	out = binary.BigEndian.AppendUint32(out, uint32(len(entries)))
	out = binary.BigEndian.AppendUint32(out, uint32(len(store)))
	return append(append(out, index...), store...)
}

// by is a package that the rpm of a version has built; more is in its signature.
func by(rpm string, more ...entry) []byte {
	head := header(entry{1000, 6, "multinicd"}, entry{tagRPMVersion, 6, rpm}, entry{1124, 6, "cpio"})
	payload := "payload by " + version
	all, one, two := md5.Sum(append(bytes.Clone(head), payload...)), sha1.Sum(head), sha256.Sum256(head)
	sig := header(append(more, entry{tagSHA1, 6, hex.EncodeToString(one[:])}, entry{tagSHA256, 6, hex.EncodeToString(two[:])}, entry{tagMD5, 7, string(all[:])})...)
	for len(sig)%8 != 0 {
		sig = append(sig, 0)
	}
	return append(append(append(make([]byte, leadSize), sig...), head...), payload...)
}

func TestPackagesOfTwoReleasesBecomeOne(t *testing.T) {
	for _, rpm := range []string{"4.18.0", "4.20.1"} {
		data := by(rpm)
		if err := rewrite(data); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(data, by("4.18.0")) {
			t.Errorf("a package by rpm %s is not what rpm 4.18.0 would have made", rpm)
		}
	}
}

func TestWhatCannotBeRewrittenIsLeftAsItIs(t *testing.T) {
	whole := by("4.20.1")
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"another length":             {by("6.0.0"), "built by rpm 6.0.0"},
		"a package with a signature": {by("4.20.1", entry{268, 7, "signature"}), "is signed"},
		"no package":                 {[]byte("#!/bin/sh\n"), "no package"},
		"a text in its place":        {bytes.Repeat([]byte("x"), 500), "no package"},
		"only the signature":         {whole[:len(whole)-100], "cut off"},
	} {
		t.Run(name, func(t *testing.T) {
			before := bytes.Clone(c.data)
			err := rewrite(c.data)
			if err == nil || !strings.Contains(err.Error(), c.want) || !bytes.Equal(before, c.data) {
				t.Errorf("got %v, want %q and the same bytes", err, c.want)
			}
			if (name == "another length") != errors.Is(err, errLength) {
				t.Errorf("%v: a build goes on with it", err)
			}
		})
	}
}

func FuzzRewrite(f *testing.F) {
	f.Add(by("4.20.1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		size := len(data)
		if rewrite(data) == nil && len(data) != size {
			t.Error("the package has another length")
		}
	})
}
