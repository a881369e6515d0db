// The suites of ONNX's backend tests, under ONNXPACK_SHARED:
//
//	go test ./benchmark/conformance                            the must-pass list
//	go test ./benchmark/conformance -run Suite -args -only 'test_conv.*'
//	                                                           chosen tests, with reasons
//	go test ./benchmark/conformance -run Suite -args -only .   every test
//	go test ./benchmark/conformance -args -update              add what passes to the list
//
// and its models in both engines, the embedded one and ONNX Runtime:
//
//	go test ./benchmark/conformance -run ONNXRuntime           but for the listed differences
//	go test ./benchmark/conformance -run ONNXRuntime -args -update
//	                                                           list the differences of today
package conformance

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	only   = flag.String("only", "", "run the tests whose whole name matches this expression")
	update = flag.Bool("update", false, "rewrite the lists in testdata: tests that pass, graphs that differ")
)

const (
	mustPassFile      = "testdata/must_pass.txt"
	knownFailuresFile = "testdata/known_failures.txt" // lists with reasons
	unjudgedFile      = "testdata/unjudged.txt"
)

// shared returns the folder of test material, or skips.
func shared(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("ONNXPACK_SHARED")
	if dir == "" {
		t.Skip("ONNXPACK_SHARED names no folder of test material")
	}
	return dir
}

// suites returns the folder of ONNX's tests, or skips.
func suites(t *testing.T) string {
	t.Helper()
	return filepath.Join(shared(t), "onnx-backend-tests")
}

func TestSuite(t *testing.T) {
	if *only == "" {
		t.Skip("no tests are chosen with -only")
	}
	dir := suites(t)
	expr := regexp.MustCompile("^(?:" + *only + ")$")
	if *only == "." {
		expr = regexp.MustCompile("")
	}
	res, err := Run(context.Background(), []string{dir}, Options{Match: expr.MatchString})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range res.Failed {
		t.Errorf("%s: %s", n.Name, n.Reason)
	}
	t.Logf("%d passed, %d failed, %d skipped", res.Passed, len(res.Failed), len(res.Skipped))
}

// TestMustPass holds every test of the suites to one of two lists: those that
// must pass, which only grows, and those that fail for a stated reason.
func TestMustPass(t *testing.T) {
	if *only != "" {
		t.Skip("tests are chosen with -only")
	}
	dir := suites(t)
	must := map[string]bool{}
	for _, name := range lines(t, mustPassFile) {
		must[name] = true
	}
	failing := reasons(t, knownFailuresFile)
	passed := map[string]bool{}
	_, err := Run(context.Background(), []string{dir}, Options{
		Progress: func(c Case, err error) {
			passed[c.Name] = err == nil
			switch {
			case err != nil && failing[c.Name] == "" && !errors.Is(err, ErrSkip):
				t.Errorf("%s: %v", c.Name, err)
			case err == nil && failing[c.Name] != "":
				t.Errorf("%s passes: take it from %s", c.Name, knownFailuresFile)
			case err == nil && !must[c.Name] && !*update:
				t.Errorf("%s passes and is not in %s: run with -update", c.Name, mustPassFile)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range must {
		if _, ran := passed[name]; !ran {
			t.Errorf("%s: on the list but not found", name)
		}
	}
	if *update {
		grow(t, must, passed)
	}
}

// lines returns the lines of a list, which must be sorted.
func lines(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	list := strings.Split(strings.TrimSpace(string(data)), "\n")
	if !slices.IsSorted(list) {
		t.Errorf("%s is not sorted", path)
	}
	return list
}

// reasons returns a sorted list whose lines are a name, a tab and a reason, by
// name.
func reasons(t *testing.T, path string) map[string]string {
	t.Helper()
	list := map[string]string{}
	for _, line := range lines(t, path) {
		name, reason, _ := strings.Cut(line, "\t")
		if reason == "" || list[name] != "" {
			t.Errorf("%s: line %q: want a name once, a tab, and a reason", path, line)
		}
		list[name] = reason
	}
	return list
}

// grow writes the list with the tests that pass added.
func grow(t *testing.T, known, passed map[string]bool) {
	var names []string
	for name, ok := range passed {
		if ok || known[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if err := os.WriteFile(mustPassFile, []byte(strings.Join(names, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestNoData(t *testing.T) {
	if err := RunCase(context.Background(), Case{Name: "empty"}, Options{}); !errors.Is(err, ErrSkip) {
		t.Errorf("a test without data gives %v, want ErrSkip", err)
	}
}
