package conformance

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Case is one test.
type Case struct {
	Name  string // the folder's name, or the light model's without extension
	Model string // path of the model
	Sets  []Set
	Tolerance
}

// Set is the data of one run. Files are in order of the graph's inputs and
// outputs.
type Set struct {
	Inputs, Outputs []string // paths; "" where an input has no file
	Ramp            bool     // inputs are not in files but ramps
}

// Find lists the tests under a folder, in order of their paths.
func Find(dir string) ([]Case, error) {
	var cases []Case
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".onnx" {
			return err
		}
		var c Case
		name := strings.TrimSuffix(d.Name(), ".onnx")
		switch {
		case name == "model":
			c, err = folderCase(filepath.Dir(path))
		case strings.HasPrefix(name, "light_"):
			c, err = lightCase(path, name)
		default:
			return nil
		}
		if err != nil {
			return err
		}
		cases = append(cases, c)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("tests: %w", err)
	}
	return cases, nil
}

func folderCase(dir string) (Case, error) {
	c := Case{Name: filepath.Base(dir), Model: filepath.Join(dir, "model.onnx"), Tolerance: Default}
	if data, err := os.ReadFile(filepath.Join(dir, "data.json")); err == nil {
		if err := json.Unmarshal(data, &c.Tolerance); err != nil {
			return c, fmt.Errorf("%s/data.json: %w", dir, err)
		}
	}
	sets, err := filepath.Glob(filepath.Join(dir, "test_data_set_*"))
	if err != nil {
		return c, err
	}
	slices.SortFunc(sets, func(a, b string) int { return number(a) - number(b) })
	for _, s := range sets {
		c.Sets = append(c.Sets, Set{Inputs: numbered(s, "input_"), Outputs: numbered(s, "output_")})
	}
	return c, nil
}

func lightCase(path, name string) (Case, error) {
	c := Case{Name: name, Model: path, Tolerance: Default}
	set := Set{Ramp: true, Outputs: numbered(filepath.Dir(path), name+"_output_")}
	if len(set.Outputs) > 0 {
		c.Sets = []Set{set}
	}
	return c, nil
}

// numbered lists the files dir/prefixN.pb at index N.
func numbered(dir, prefix string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, prefix+"*.pb")) // the pattern is well formed
	var out []string
	for _, f := range files {
		n := number(strings.TrimSuffix(f, ".pb"))
		if n < 0 {
			continue
		}
		for len(out) <= n {
			out = append(out, "")
		}
		out[n] = f
	}
	return out
}

// number returns the number after the last underscore of a name, -1 if there
// is none.
func number(name string) int {
	n, err := strconv.Atoi(name[strings.LastIndexByte(name, '_')+1:])
	if err != nil || n < 0 || n > 1<<16 {
		return -1
	}
	return n
}
