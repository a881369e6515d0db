package dataset

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
)

// folders are ONNX's test data: test_data_set_N/input_M.pb, with the expected
// results in output_M.pb.
type folders struct {
	dirs   []string
	inputs []*graph.Value
}

func openPB(s *spec, inputs []*graph.Value) (source, error) {
	dirs, err := filepath.Glob(filepath.Join(s.path, "test_data_set_*"))
	if err != nil {
		return nil, err
	}
	if len(dirs) == 0 {
		if _, err := os.Stat(filepath.Join(s.path, "input_0.pb")); err != nil {
			return nil, fmt.Errorf("%s holds neither test_data_set_* nor input_0.pb", s.path)
		}
		dirs = []string{s.path}
	}
	slices.SortFunc(dirs, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b) // set_2 before set_10
		}
		return strings.Compare(a, b)
	})
	return &folders{dirs, inputs}, nil
}

func (f *folders) len() int       { return len(f.dirs) }
func (f *folders) labelled() bool { return false }
func (f *folders) Close() error   { return nil }

func (f *folders) at(i int) (Sample, error) {
	s := Sample{Feeds: map[string]tensor.Value{}, Label: -1, Want: map[string]tensor.Value{}}
	for k, v := range f.inputs {
		x, err := readPB(f.dirs[i], "input_", k, v.Type)
		if err != nil {
			return Sample{}, err
		}
		if x != nil {
			s.Feeds[v.Name()] = x
		} else if v.Init == nil {
			return Sample{}, fmt.Errorf("%s has no input_%d.pb for input %q", f.dirs[i], k, v.Name())
		}
	}
	for k := 0; ; k++ {
		x, err := readPB(f.dirs[i], "output_", k, nil)
		if err != nil {
			return Sample{}, err
		}
		if x == nil {
			return s, nil
		}
		s.Want[strconv.Itoa(k)] = x
	}
}

// readPB reads one value, nil if there is no such file.
func readPB(dir, prefix string, k int, t *graph.Type) (tensor.Value, error) {
	path := filepath.Join(dir, prefix+strconv.Itoa(k)+".pb")
	if _, err := os.Stat(path); os.IsNotExist(err) {
		return nil, nil
	}
	return onnxio.ReadValue(path, t)
}
