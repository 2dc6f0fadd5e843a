package netplan_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multinicd/netplan"
	"multinicd/nic"
	"multinicd/test/bed/testhost"
)

// recorded are configurations of one NIC, and in a folder per version of netplan what its generator made of them.
const recorded = "../../../netplan/testdata/retarget"

func cases(t *testing.T) map[string]nic.Config {
	t.Helper()
	out := map[string]nic.Config{}
	names, err := filepath.Glob(recorded + "/*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var c nic.Config
		if err := json.Unmarshal(data, &c); err != nil {
			t.Fatalf("reading %s: %v", name, err)
		}
		out[strings.TrimSuffix(filepath.Base(name), ".json")] = c
	}
	return out
}

// What networkd and udev are told of a changed NIC right away is what the generator tells them at the next boot.
func TestRetargetWritesWhatTheGeneratorWould(t *testing.T) {
	onHosts(t, func(t *testing.T, h *testhost.Host, r *random) {
		files := []file{{Config: nic.Config{ID: 7, Name: "multinic7", MAC: nic.MAC{2, 0, 0, 0, 0, 7}}}}
		for range 40 {
			files = append(files, file{Config: r.config(7)})
		}
		compareAll(t, h, files)
	})
}

// compareAll turns the files of each into those of each other.
func compareAll(t *testing.T, h *testhost.Host, files []file) {
	t.Helper()
	var trees [][]file
	for _, f := range files {
		trees = append(trees, []file{f})
	}
	for _, complaint := range generate(t, h, trees) {
		if complaint != "" {
			t.Fatal(complaint)
		}
	}
	var networks, links [][]byte
	for i, f := range files {
		network, link := generated(t, h, i, f)
		networks, links = append(networks, network), append(links, link)
	}
	wrong := 0
	for i := range files {
		for j := range files {
			for kind, all := range map[string][][]byte{"network": networks, "link": links} {
				if all[i] == nil || all[j] == nil {
					continue // what is not there is not changed, and comes at the next boot
				}
				got := string(netplan.Retarget(all[i], files[j].Config))
				if diff := cmp.Diff(string(all[j]), got); diff != "" && wrong < 5 {
					wrong++
					t.Errorf("from\n%sto\n%s.%s: -generator +ours:\n%s", files[i].data(), files[j].data(), kind, diff)
				}
			}
		}
	}
}

// The unit tests work with recorded files: these are the real ones.
func TestRecordedFilesAreTheGenerators(t *testing.T) {
	onHosts(t, func(t *testing.T, h *testhost.Host, _ *random) {
		dir := filepath.Join(recorded, version(t, h))
		all := cases(t)
		var trees [][]file
		for _, name := range sorted(all) {
			trees = append(trees, []file{{Config: all[name]}})
		}
		generate(t, h, trees)
		for i, name := range sorted(all) {
			network, link := generated(t, h, i, trees[i][0])
			for ext, data := range map[string][]byte{".network": network, ".link": link} {
				if data == nil {
					continue
				}
				if *update {
					if err := os.MkdirAll(dir, 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(filepath.Join(dir, name+ext), data, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(filepath.Join(dir, name+ext))
				if err != nil {
					t.Fatalf("%v (-update records it)", err)
				}
				if diff := cmp.Diff(string(want), string(data)); diff != "" {
					t.Errorf("%s%s: -recorded +generator:\n%s", name, ext, diff)
				}
			}
		}
	})
}
