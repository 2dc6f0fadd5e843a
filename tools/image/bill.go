package main

import (
	"bytes"
	"cmp"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// The bill of materials is SPDX 2.3 (spdx.github.io/spdx-spec/v2.3): the binary,
// and each module that the linker put into it, by what Go wrote into the binary.
type document struct {
	Version   string       `json:"spdxVersion"`
	License   string       `json:"dataLicense"`
	ID        string       `json:"SPDXID"`
	Name      string       `json:"name"`
	Namespace string       `json:"documentNamespace"`
	Creation  creation     `json:"creationInfo"`
	Packages  []component  `json:"packages"`
	Relations []dependency `json:"relationships"`
}

type creation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type component struct {
	ID        string      `json:"SPDXID"`
	Name      string      `json:"name"`
	Version   string      `json:"versionInfo"`
	Purpose   string      `json:"primaryPackagePurpose"`
	Location  string      `json:"downloadLocation"`
	Analyzed  bool        `json:"filesAnalyzed"`
	Concluded string      `json:"licenseConcluded"`
	Declared  string      `json:"licenseDeclared"`
	Copyright string      `json:"copyrightText"`
	Sums      []sum       `json:"checksums,omitempty"`
	Refs      []reference `json:"externalRefs,omitempty"`
}

type sum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type reference struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type dependency struct {
	From string `json:"spdxElementId"`
	Type string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

const noAssertion = "NOASSERTION"

// bill says what a binary is made of.
func (i image) bill(b binary) ([]byte, error) {
	info, err := buildinfo.Read(bytes.NewReader(b.data))
	if err != nil {
		return nil, fmt.Errorf("reading what the binary is made of: %w", err)
	}
	hash := strings.TrimPrefix(digest(b.data), "sha256:")
	d := document{
		Version: "SPDX-2.3", License: "CC0-1.0", ID: "SPDXRef-DOCUMENT",
		Name: path.Base(i.name) + "-" + i.tag + "-" + b.arch,
		// Unique to the binary, and asked for by nobody.
		Namespace: "urn:sha256:" + hash + ":" + i.command + ".spdx.json",
		Creation:  creation{i.created.Format(time.RFC3339), []string{"Tool: multinicd-tools-image"}},
		Relations: []dependency{{"SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-binary"}},
	}
	main := component{
		ID: "SPDXRef-binary", Name: i.command, Version: i.tag, Purpose: "APPLICATION", Location: noAssertion,
		Concluded: "Apache-2.0", Declared: "Apache-2.0", Copyright: noAssertion, Sums: []sum{{"SHA256", hash}},
	}
	d.Packages = append(d.Packages, main)
	modules := append([]*debug.Module{{Path: "stdlib", Version: strings.TrimPrefix(info.GoVersion, "go")}}, info.Deps...)
	slices.SortFunc(modules, func(x, y *debug.Module) int { return cmp.Compare(x.Path, y.Path) })
	for n, m := range modules {
		if m.Replace != nil {
			m = m.Replace
		}
		c := component{
			ID: fmt.Sprintf("SPDXRef-module-%d", n+1), Name: m.Path, Version: m.Version, Purpose: "LIBRARY", Location: noAssertion,
			Concluded: noAssertion, Declared: noAssertion, Copyright: noAssertion,
			Refs: []reference{{"PACKAGE-MANAGER", "purl", "pkg:golang/" + m.Path + "@" + strings.ReplaceAll(m.Version, "+", "%2B")}},
		}
		d.Packages = append(d.Packages, c)
		d.Relations = append(d.Relations, dependency{"SPDXRef-binary", "DEPENDS_ON", c.ID})
	}
	out, err := json.MarshalIndent(d, "", "  ")
	return append(out, '\n'), err
}
