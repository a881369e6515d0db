// The suites of ONNX's backend tests, under ONNXPACK_SHARED:
//
//	go test ./benchmark/conformance                            the must-pass list
//	go test ./benchmark/conformance -run Suite -args -only 'test_conv.*'
//	                                                           chosen tests, with reasons
//	go test ./benchmark/conformance -run Suite -args -only .   every test
//	go test ./benchmark/conformance -args -update              add what passes to the list
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
	update = flag.Bool("update", false, "add the tests that pass to testdata/must_pass.txt")
)

const mustPassFile = "testdata/must_pass.txt"

// suites returns the folder of ONNX's tests, or skips.
func suites(t *testing.T) string {
	t.Helper()
	shared := os.Getenv("ONNXPACK_SHARED")
	if shared == "" {
		t.Skip("ONNXPACK_SHARED names no folder of test material")
	}
	return filepath.Join(shared, "onnx-backend-tests")
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

func TestMustPass(t *testing.T) {
	if *only != "" {
		t.Skip("tests are chosen with -only")
	}
	dir := suites(t)
	data, err := os.ReadFile(mustPassFile)
	if err != nil {
		t.Fatal(err)
	}
	must := strings.Fields(string(data))
	if !slices.IsSorted(must) {
		t.Errorf("%s is not sorted", mustPassFile)
	}
	known := map[string]bool{}
	for _, name := range must {
		known[name] = true
	}
	passed := map[string]bool{}
	res, err := Run(context.Background(), []string{dir}, Options{
		Match:    func(name string) bool { return *update || known[name] },
		Progress: func(c Case, err error) { passed[c.Name] = err == nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range res.Failed {
		if known[n.Name] {
			t.Errorf("%s: %s", n.Name, n.Reason)
		}
	}
	for _, name := range must {
		if _, ran := passed[name]; !ran {
			t.Errorf("%s: on the list but not found", name)
		}
	}
	if *update {
		grow(t, known, passed)
	}
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
