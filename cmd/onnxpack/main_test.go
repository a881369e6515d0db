package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/targets/ort"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"onnxpack": main})
}

// TestScripts runs the command line as its users do: testdata/*.txtar.
func TestScripts(t *testing.T) {
	digits, err := filepath.Abs("../../testdata/digits")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("DIGITS", digits)
			if _, err := judge("ort"); err != nil {
				return err
			}
			for _, name := range []string{"ONNXPACK_SHARED", ort.LibraryEnv, ort.HelperEnv, "GOCACHE", "GOFLAGS", "HOME"} {
				e.Setenv(name, os.Getenv(name))
			}
			return nil
		},
		Condition: judge,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"within-half-a-point": withinHalfAPoint,
			"await":               await,
			"encode":              encode,
		},
	})
}

// encode writes a model that stands in ONNX text as a file.
func encode(ts *testscript.TestScript, _ bool, files []string) {
	m, err := graph.ParseModel(ts.ReadFile(files[0]))
	ts.Check(err)
	ts.Check(onnxio.Save(context.Background(), ts.MkAbs(files[1]), m, onnxio.SaveOptions{}))
}

// judge answers conditions of scripts: whether ONNX Runtime, or ONNX's Python
// package, is installed.
func judge(name string) (bool, error) {
	switch name {
	case "ort":
		install, err := ort.Find(context.Background())
		if err == nil {
			os.Setenv(ort.LibraryEnv, install.Library)
			os.Setenv(ort.HelperEnv, install.Helper)
		}
		return err == nil, nil
	case "python-onnx":
		return exec.Command("/usr/bin/python3", "-c", "import onnx").Run() == nil, nil
	}
	return false, fmt.Errorf("there is no condition %q", name)
}

// await waits until a folder holds a file.
func await(ts *testscript.TestScript, _ bool, dirs []string) {
	pattern := filepath.Join(ts.MkAbs(dirs[0]), "[^.]*")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if files, _ := filepath.Glob(pattern); len(files) > 0 {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s is still empty", dirs[0])
		}
	}
}

// withinHalfAPoint fails if top1 of two reports of eval differs by more than
// 0.005.
func withinHalfAPoint(ts *testscript.TestScript, _ bool, files []string) {
	var top [2]float64
	for i := range top {
		var r evalResult
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(files[i])), &r))
		top[i] = r.Metrics["top1"]
	}
	if d := math.Abs(top[0] - top[1]); d > 0.005 {
		ts.Fatalf("top1 is %v and %v", top[0], top[1])
	}
}
