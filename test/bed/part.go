package bed

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// PartVariable has which part of its tests a package runs: "2/5" is the second of five. Without it a package runs all, as in CI.
// make test PART=2/5 sets it, for who cannot wait for all.
const PartVariable = "MULTINIC_PART"

// InEachPart names tests of the package that every part has. It is for TestMain, before Main.
func InEachPart(tests ...string) { always = tests }

var (
	always   []string
	testFunc = regexp.MustCompile(`(?m)^func (Test[A-Z]\w*)\(t \*testing\.T\)`)
)

// skipped is a pattern of the tests that a part does not have, as the flag -skip takes it; "" where it has all.
func skipped(part, folder string) (string, error) {
	if part == "" {
		return "", nil
	}
	var n, of int
	if got, err := fmt.Sscanf(part, "%d/%d", &n, &of); got != 2 || err != nil || n < 1 || n > of {
		return "", fmt.Errorf("%s=%s: want a part like 2/5, or nothing for all tests", PartVariable, part)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		return "", err
	}
	var tests []string
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		for _, found := range testFunc.FindAllSubmatch(source, -1) {
			tests = append(tests, string(found[1]))
		}
	}
	for _, name := range always {
		if !slices.Contains(tests, name) {
			return "", fmt.Errorf("InEachPart names %s, and there is no such test in %s", name, folder)
		}
	}
	tests = slices.DeleteFunc(tests, func(name string) bool { return slices.Contains(always, name) })
	slices.Sort(tests)
	var others []string
	for i, name := range tests {
		if i%of != n-1 {
			others = append(others, name)
		}
	}
	if others == nil {
		return "", nil
	}
	return "^(" + strings.Join(others, "|") + ")$", nil
}
