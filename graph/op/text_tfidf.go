package op

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// tfIdf is a TfIdfVectorizer prepared for evaluation. Tokens are numbered;
// an n-gram is known by the numbers of its tokens, four bytes each.
type tfIdf struct {
	strings  map[string]int32
	integers map[int64]int32
	grams    map[string]int // n-gram -> its place in the pool's order
	place    []int          // of each n-gram in the output
	weights  []float64      // of each n-gram, nil for ones
	min, max int            // lengths of n-grams
	skip     int
	width    int
	mode     string
}

func newTfIdf(c *Call) (*tfIdf, error) {
	n := c.Node
	v := &tfIdf{
		min: int(n.Int("min_gram_length", 0)), max: int(n.Int("max_gram_length", 0)), skip: int(n.Int("max_skip_count", 0)),
		place: toInts(n.Ints("ngram_indexes")), weights: float64s(c, "weights"), mode: n.Str("mode", ""),
		grams: map[string]int{},
	}
	switch v.mode {
	case "TF", "IDF", "TFIDF":
	default:
		return nil, fmt.Errorf("attribute mode is %q, want TF, IDF or TFIDF", v.mode)
	}
	if v.min < 1 || v.max < v.min || v.skip < 0 {
		return nil, fmt.Errorf("n-grams of length %d to %d with %d skips", v.min, v.max, v.skip)
	}
	if len(v.place) == 0 || slices.Min(v.place) < 0 || slices.Max(v.place) >= math.MaxInt32 {
		return nil, fmt.Errorf("attribute ngram_indexes is empty or has an entry out of range")
	}
	if len(v.weights) != 0 && len(v.weights) != len(v.place) {
		return nil, fmt.Errorf("%d weights for %d n-grams", len(v.weights), len(v.place))
	}
	v.width = slices.Max(v.place) + 1
	return v, v.readPool(v.number(c), toInts(n.Ints("ngram_counts")))
}

// number gives numbers to the tokens of the pool and returns the pool in
// them.
func (v *tfIdf) number(c *Call) []int32 {
	if s := stringsAttr(c, "pool_strings"); len(s) > 0 {
		v.strings = map[string]int32{}
		return numbered(v.strings, s)
	}
	v.integers = map[int64]int32{}
	return numbered(v.integers, c.Node.Ints("pool_int64s"))
}

func numbered[K comparable](ids map[K]int32, pool []K) []int32 {
	out := make([]int32, len(pool))
	for i, k := range pool {
		id, ok := ids[k]
		if !ok {
			id = int32(len(ids))
			ids[k] = id
		}
		out[i] = id
	}
	return out
}

// readPool enters the n-grams of the pool; starts tells where those of each
// length begin.
func (v *tfIdf) readPool(pool []int32, starts []int) error {
	gram := 0
	for k, from := range starts {
		n, to := k+1, len(pool)
		if k+1 < len(starts) {
			to = starts[k+1]
		}
		if from < 0 || to < from || to > len(pool) || (to-from)%n != 0 {
			return fmt.Errorf("attribute ngram_counts %v does not divide a pool of %d", starts, len(pool))
		}
		for i := from; i < to; i += n {
			if gram == len(v.place) {
				return fmt.Errorf("the pool has more n-grams than the %d of ngram_indexes", len(v.place))
			}
			v.grams[gramKey(nil, pool[i:i+n], 0, 1, n)] = gram
			gram++
		}
	}
	return nil
}

// gramKey appends to key the tokens at, at+step, … of an n-gram.
func gramKey(key []byte, tokens []int32, at, step, n int) string {
	key = key[:0]
	for i := range n {
		t := tokens[at+i*step]
		key = append(key, byte(t), byte(t>>8), byte(t>>16), byte(t>>24))
	}
	return string(key)
}

// count adds up the n-grams of a row of tokens; -1 is a token that the pool
// does not know.
func (v *tfIdf) count(tokens []int32, counts []float64) {
	var key []byte
	for n := v.min; n <= v.max; n++ {
		for step := 1; step <= v.skip+1; step++ {
			for at := 0; at+(n-1)*step < len(tokens); at++ {
				if g, ok := v.grams[gramKey(key, tokens, at, step, n)]; ok {
					counts[g]++
				}
			}
			if n == 1 {
				break // single tokens skip nothing
			}
		}
	}
}

// write puts the counts of a row in their places, weighted.
func (v *tfIdf) write(counts []float64, out []float32) {
	for g, k := range counts {
		switch {
		case k == 0:
			continue
		case v.mode == "IDF":
			k = 1
		}
		if v.mode != "TF" && len(v.weights) > 0 {
			k *= v.weights[g]
		}
		out[v.place[g]] += float32(k)
	}
}

// tokens returns input 0 in token numbers.
func (v *tfIdf) tokens(e *Eval) ([]int32, error) {
	x := e.Tensor(0)
	switch {
	case x.DType() == tensor.String && v.strings != nil:
		return lookUp(x.Strings(), v.strings, -1), nil
	case x.DType().IsInteger() && v.integers != nil:
		return lookUp(tensor.Int64s(x), v.integers, -1), nil
	}
	return nil, e.Errorf(0, "does not fit the pool of n-grams")
}

func evalTfIdf(e *Eval) error {
	v, err := newTfIdf(&e.Call)
	if err != nil {
		return err
	}
	tokens, err := v.tokens(e)
	if err != nil {
		return err
	}
	s := e.Tensor(0).Shape()
	out := tensor.Shape{v.width}
	rows, n := 1, len(tokens)
	switch len(s) {
	case 0, 1:
	case 2:
		rows, n = s[0], s[1]
		out = tensor.Shape{rows, v.width}
	default:
		return e.Errorf(0, "has %d axes, want 1 or 2", len(s))
	}
	y, err := e.alloc(tensor.Float32, out)
	if err != nil {
		return err
	}
	fill(y, nil)
	data := tensor.Data[float32](y)
	for r := range rows {
		counts := make([]float64, len(v.place))
		v.count(tokens[r*n:(r+1)*n], counts)
		v.write(counts, data[r*v.width:(r+1)*v.width])
	}
	e.SetOut(0, y)
	return nil
}

func inferTfIdf(c *Infer) error {
	v, err := newTfIdf(&c.Call)
	if err != nil {
		return err
	}
	switch in := c.Shape(0); {
	case in == nil:
		c.SetOut(0, tensor.Float32, nil)
	case len(in) == 2:
		c.SetOut(0, tensor.Float32, graph.Dims{in[0], graph.Known(v.width)})
	default:
		c.SetOut(0, tensor.Float32, graph.Dims{graph.Known(v.width)})
	}
	return nil
}
