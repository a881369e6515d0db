package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// floors gives each folder its floor: a package imports only packages of
// lower floors, and of its own folder.
var floors = []struct {
	folder string
	floor  int
}{
	{"graph/tensor", 0},
	{"graph/kernel", 0},
	{"graph/op", 2},
	{"graph/grad", 3},
	{"graph", 1},
	{"targets/internal", 1},
	{"targets/engine", 3},
	{"targets/ort", 3},
	{"targets", 2},
	{"onnxio/dataset", 3},
	{"onnxio/onnxgo", 4}, // above the engine, which it lends to onnx-go
	{"onnxio", 2},
	{"passes/catalog", 6},
	{"passes/recipe", 5},
	{"passes/internal", 4},
	{"passes/passtest", 5},
	{"passes/", 5}, // the families
	{"passes", 4},
	{"benchmark", 4},
	{"cmd", 7},
}

const module = "github.com/onnxpack/onnxpack/"

// floorOf returns the folder that rules a package, and its floor.
func floorOf(pkg string) (folder string, floor int) {
	for _, f := range floors {
		if strings.HasSuffix(f.folder, "/") && strings.HasPrefix(pkg, f.folder) {
			return pkg, f.floor
		}
		if pkg == f.folder || strings.HasPrefix(pkg, f.folder+"/") {
			return f.folder, f.floor
		}
	}
	return "", -1
}

// TestFloors holds the arrows between packages.
func TestFloors(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "../../...").Output()
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	n := 0
	for {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		n++
		from := strings.TrimPrefix(p.ImportPath, module)
		folder, floor := floorOf(from)
		if floor < 0 {
			t.Errorf("%s has no floor: which room is it in?", from)
			continue
		}
		for _, imp := range p.Imports {
			to, ok := strings.CutPrefix(imp, module)
			if !ok {
				continue
			}
			other, below := floorOf(to)
			if other != folder && below >= floor {
				t.Errorf("%s (floor %d) imports %s (floor %d)", from, floor, to, below)
			}
		}
	}
	if n < 10 {
		t.Errorf("only %d packages were seen", n)
	}
}
