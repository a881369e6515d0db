package dataset

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// labelColumns are the headers under which a table may hold classes.
var labelColumns = []string{"class_index", "label_index", "label", "class"}

// labelFile reads the classes of n samples from the file that the key labels
// names, nil if there is no such key: a .npy array, or a table with one of
// labelColumns. The key offset is added to each.
func labelFile(s *spec, n int) ([]int, error) {
	offset, err := s.integer("offset", 0)
	if err != nil {
		return nil, err
	}
	path := s.str("labels", "")
	if path == "" {
		return nil, nil
	}
	var labels []int
	if filepath.Ext(path) == ".npy" {
		arr, err := openNpyFile(path)
		if err != nil {
			return nil, err
		}
		defer arr.r.Close()
		if labels, err = readLabels(arr); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	} else if labels, err = readLabelTable(path); err != nil {
		return nil, err
	}
	if len(labels) != n {
		return nil, fmt.Errorf("%s has %d labels for %d samples", path, len(labels), n)
	}
	for i := range labels {
		labels[i] += offset
	}
	return labels, nil
}

// readLabels reads classes from an array of integers, one for each sample.
func readLabels(a *array) ([]int, error) {
	if !a.dtype.IsInteger() || a.shape.Len() == 0 {
		return nil, fmt.Errorf("labels are %v%v, want integers", a.dtype, a.shape)
	}
	if a.shape.Len() != a.shape[0] {
		return nil, fmt.Errorf("labels have shape %v, want one for each sample", a.shape)
	}
	t, err := a.all()
	if err != nil {
		return nil, err
	}
	var labels []int
	for _, x := range tensor.Int64s(t) {
		labels = append(labels, int(x))
	}
	return labels, nil
}

func readLabelTable(path string) ([]int, error) {
	rows, err := readTSV(path)
	if err != nil {
		return nil, err
	}
	col := slices.IndexFunc(rows[0], func(h string) bool { return slices.Contains(labelColumns, h) })
	if col < 0 && len(rows[0]) == 1 {
		col = 0
		if _, err := strconv.Atoi(rows[0][0]); err == nil {
			rows = append([][]string{{"class"}}, rows...)
		}
	}
	if col < 0 {
		return nil, fmt.Errorf("%s: the header is %q, want one of %s", path, rows[0], strings.Join(labelColumns, ", "))
	}
	var labels []int
	for i, row := range rows[1:] {
		n, err := strconv.Atoi(row[col])
		if err != nil {
			return nil, fmt.Errorf("%s: row %d: %s is %q, want a number", path, i+2, rows[0][col], row[col])
		}
		labels = append(labels, n)
	}
	return labels, nil
}
