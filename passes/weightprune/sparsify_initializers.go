package weightprune

import (
	"bytes"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
)

// SparsifyInitializers writes initializers of many zeros without the zeros.
var SparsifyInitializers = passes.Define(passes.Pass{
	Name: "sparsify-initializers",
	Doc: `write initializers of many zeros as ONNX's sparse_initializer

Of such a tensor the file holds the elements that are not zero and an int64 for
the place of each, so that floats take less only if more than two thirds are
zero, and the others stay as they are. Readers make the tensor dense again: a
run takes the same time and memory. Compression of the whole file does as well
without it.`,
	Kind: passes.Exact,
}, SparsifyOptions{}, sparsifyInitializers)

// SparsifyOptions are the options of [SparsifyInitializers].
type SparsifyOptions struct {
	Include []string `opt:"include" help:"initializers that are meant, patterns with * and ?; all if empty"`
	Exclude []string `opt:"exclude" help:"initializers that are left alone, patterns with * and ?"`
}

// sparseIR is the version of ONNX's format that brought sparse initializers.
const sparseIR = 6

func sparsifyInitializers(j *passes.Job, o SparsifyOptions) error {
	if v := j.Model.IRVersion; v < sparseIR {
		j.Note("the model's ir_version is %d, sparse initializers want at least %d", v, sparseIR)
		return nil
	}
	for _, v := range j.Model.Graph.Inits() {
		if len(o.Include) > 0 && !passes.Match(o.Include, v.Name()) || passes.Match(o.Exclude, v.Name()) {
			continue
		}
		t := v.Init.Tensor
		if t == nil || t.DType().Bits()%8 != 0 || v.IsInput() || v.IsOutput() {
			continue
		}
		s := sparseOf(t)
		if s == nil {
			continue
		}
		j.Model.Graph.SetInit(v, &graph.Literal{Sparse: s, Doc: v.Init.Doc, Metadata: v.Init.Metadata})
		j.Changed(1)
		j.Figure("bytes of sparse initializers", float64(s.Values.Size()+s.Indices.Size()))
		j.Figure("bytes of the same before", float64(t.Size()))
	}
	return nil
}

// sparseOf returns t, of whole bytes, without its zeros; nil if that would take
// no less. Only elements of zero bits count as zero, so that -0 stays.
func sparseOf(t *tensor.Tensor) *tensor.Sparse {
	if t.Rank() == 0 || t.Len() == 0 {
		return nil
	}
	width, data := t.DType().Bits()/8, t.Bytes()
	zero := make([]byte, width)
	values, places := []byte{}, []int64{}
	for i := range t.Len() {
		x := data[i*width : (i+1)*width]
		if bytes.Equal(x, zero) {
			continue
		}
		values, places = append(values, x...), append(places, int64(i))
		if len(places)*(width+8) >= len(data) {
			return nil
		}
	}
	kept, err := tensor.FromBytes(t.DType(), tensor.Shape{len(places)}, values)
	if err != nil {
		return nil
	}
	return &tensor.Sparse{Values: kept, Indices: tensor.Of(tensor.Shape{len(places)}, places), Shape: t.Shape()}
}
