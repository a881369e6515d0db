package dataset

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// random makes samples of the model's input types: normal floats, whole
// numbers of 0 and 1 (which are valid indices of nearly every table), bytes.
type random struct {
	n      int
	seed   uint64
	inputs []randomInput
}

type randomInput struct {
	name  string
	dtype tensor.DType
	dims  graph.Dims // as the model declares them
	shape tensor.Shape
}

func openRandom(s *spec, inputs []*graph.Value) (source, error) {
	n, err := strconv.Atoi(s.path)
	if err != nil || n < 1 {
		return nil, fmt.Errorf("%q is not a number of samples", s.path)
	}
	seed, err := s.integer("seed", 1)
	if err != nil {
		return nil, err
	}
	r := &random{n: n, seed: uint64(seed)}
	for _, middling := range []bool{true, false} {
		if r.inputs, err = randomInputs(s, inputs, middling); err != nil {
			return nil, err
		}
		if r.largest() <= middlingRandom {
			break
		}
	}
	for _, in := range r.inputs {
		if n := in.shape.Len(); n > maxRandom {
			return nil, fmt.Errorf("input %q would have shape %v, %d numbers: give sizes as keys, such as %s=1", in.name, in.shape, n, openSize(in.dims))
		}
	}
	return r, nil
}

// largest returns the number of elements of the largest input.
func (r *random) largest() int {
	n := 0
	for _, in := range r.inputs {
		n = max(n, in.shape.Len())
	}
	return n
}

// randomInputs settles the shapes of the inputs: sizes that the model leaves
// open are middling, or 1.
func randomInputs(s *spec, inputs []*graph.Value, middling bool) ([]randomInput, error) {
	var list []randomInput
	sizes := map[string]int{}
	for _, v := range inputs {
		if v.Init != nil {
			continue
		}
		if v.Type == nil || v.Type.Kind != graph.KindTensor {
			return nil, fmt.Errorf("input %q is %v: random data is for tensors", v.Name(), v.Type)
		}
		in := randomInput{name: v.Name(), dtype: v.Type.Elem, dims: v.Type.Shape, shape: tensor.Shape{}}
		for axis, d := range v.Type.Shape {
			def := 1
			if middling {
				def = middlingSize(axis, len(v.Type.Shape))
			}
			def, err := s.integer(fmt.Sprintf("%s.%d", v.Name(), axis), def)
			if err != nil {
				return nil, err
			}
			size, err := randomSize(s, sizes, d, def)
			if err != nil {
				return nil, err
			}
			in.shape = append(in.shape, size)
		}
		if err := in.shape.Check(); err != nil {
			return nil, fmt.Errorf("input %q: %w", v.Name(), err)
		}
		list = append(list, in)
	}
	return list, nil
}

const (
	middlingRandom = 1 << 24 // numbers in an input beyond which open sizes are 1
	maxRandom      = 1 << 28 // the most numbers in an input
)

// openSize returns the name of a size that the model leaves open, to show how
// it is given.
func openSize(dims graph.Dims) string {
	for _, d := range dims {
		if d.Sym != "" {
			return d.Sym
		}
	}
	return "NAME"
}

// middlingSize is the size of an axis that the model leaves open: 1 for the
// first, which is most often the batch.
func middlingSize(axis, rank int) int {
	switch {
	case axis == 0:
		return 1
	case rank == 4:
		return 64
	case rank > 4:
		return 4
	}
	return 16
}

// randomSize picks the size of a dimension: its own, that of a key of the
// same name, or def, which the key INPUT.AXIS sets. One name has one size.
func randomSize(s *spec, sizes map[string]int, d graph.Dim, def int) (int, error) {
	if d.IsKnown() {
		return d.Size, nil
	}
	if d.Sym == "" {
		if def < 0 {
			return 0, fmt.Errorf("a size is %d, want 0 or more", def)
		}
		return def, nil
	}
	if n, ok := sizes[d.Sym]; ok {
		return n, nil
	}
	size, err := s.integer(d.Sym, def)
	if err == nil && size < 0 {
		err = fmt.Errorf("key %q is %d, want a size", d.Sym, size)
	}
	sizes[d.Sym] = size
	return size, err
}

func (r *random) len() int       { return r.n }
func (r *random) labelled() bool { return false }
func (r *random) Close() error   { return nil }

func (r *random) at(i int) (Sample, error) {
	s := Sample{Feeds: map[string]tensor.Value{}, Label: -1}
	rng := rand.New(rand.NewPCG(r.seed, uint64(i)))
	for _, in := range r.inputs {
		t, err := randomTensor(rng, in.dtype, in.shape)
		if err != nil {
			return Sample{}, fmt.Errorf("input %q: %w", in.name, err)
		}
		s.Feeds[in.name] = t
	}
	return s, nil
}

func randomTensor(rng *rand.Rand, d tensor.DType, shape tensor.Shape) (*tensor.Tensor, error) {
	n := shape.Len()
	switch {
	case d == tensor.String:
		strs := make([]string, n)
		for i := range strs {
			strs[i] = strings.Repeat(string(rune('a'+rng.IntN(26))), 1+rng.IntN(4))
		}
		return tensor.OfStrings(shape, strs), nil
	case d == tensor.Uint8:
		xs := make([]uint8, n)
		for i := range xs {
			xs[i] = uint8(rng.UintN(256))
		}
		return tensor.Of(shape, xs), nil
	case d == tensor.Bool:
		xs := make([]bool, n)
		for i := range xs {
			xs[i] = rng.UintN(2) == 1
		}
		return tensor.Of(shape, xs), nil
	}
	xs := make([]float64, n)
	for i := range xs {
		if d.IsInteger() {
			xs[i] = float64(rng.UintN(2))
		} else {
			xs[i] = rng.NormFloat64()
		}
	}
	return convert(tensor.Of(shape, xs), d)
}
