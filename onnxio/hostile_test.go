package onnxio

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"google.golang.org/protobuf/encoding/protowire"
)

// survive decodes bytes that may be anything. What decodes, encodes, and is
// then read as the same.
func survive(t *testing.T, data []byte) {
	t.Helper()
	m, err := Decode(data, OpenOptions{})
	if err != nil {
		return
	}
	graph.Check(m) // may say no
	var same bytes.Buffer
	if err := Encode(&same, m); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(same.Bytes(), data) {
		t.Fatal("what was not changed is encoded with other bytes")
	}
	sameModel(t, m, reencode(t, "hostile", stripped(m)))
}

// spoil calls try with truncated and bit-flipped copies of data: all of them
// if there are few, else n of each.
func spoil(data []byte, n int, try func([]byte)) {
	r := rand.New(rand.NewPCG(1, uint64(len(data))))
	for i := range min(n, len(data)) {
		cut := i
		if len(data) > n {
			cut = r.IntN(len(data))
		}
		try(data[:cut:cut])
		bad := bytes.Clone(data)
		for range 1 + r.IntN(3) {
			bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
		}
		try(bad)
	}
}

func TestSpoiled(t *testing.T) {
	for _, data := range seeds(t) {
		spoil(data, 2000, func(bad []byte) { survive(t, bad) })
	}
}

// TestOutputWithoutType encodes an initializer that is an output whose entry
// states no type: the encoder states the one that is known.
func TestOutputWithoutType(t *testing.T) {
	m := smallModel()
	v := m.Graph.AddInit("constant", tensor.Vector[float32](1, 2))
	m.Graph.AddOutput(v)
	again := reencode(t, "typed", m)
	if w := again.Graph.Value("constant"); w.Inferred || !w.Type.Equal(v.Type) {
		t.Errorf("output has type %v (inferred: %v), want %v stated", w.Type, w.Inferred, v.Type)
	}
	sameModel(t, m, again)
}

// TestSpoiledShared spoils real models of moderate size.
func TestSpoiledShared(t *testing.T) {
	n := 0
	for _, dir := range []string{"models", "onnx-backend-tests/light", "ort-testdata"} {
		for _, path := range sharedFiles(t, isModel, dir) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if len(data) > 1<<20 {
				continue
			}
			n++
			spoil(data, 4, func(bad []byte) { survive(t, bad) })
		}
	}
	t.Logf("%d models spoiled in 8 ways each", n)
}

// seeds are small models in different encodings.
func seeds(t testing.TB) [][]byte {
	var b, other bytes.Buffer
	if err := Encode(&b, smallModel()); err != nil {
		t.Fatal(err)
	}
	m := smallModel()
	m.Graph.Quantization = []graph.QuantAnnotation{{Value: "x", Params: []graph.Prop{{Key: "SCALE_TENSOR", Value: "w"}}}}
	m.Devices = []graph.DeviceConfig{{Name: "d", Count: 2, Devices: []string{"0", "1"}}}
	m.Training = []*graph.Training{{Algorithm: branch("step", "Relu", m.Graph.Inputs()[0])}}
	sparse := &tensor.Sparse{Values: tensor.Vector[float32](1, 2), Indices: tensor.Vector[int64](0, 3), Shape: tensor.Shape{2, 2}}
	m.Graph.SetInit(m.Graph.Define("s"), &graph.Literal{Sparse: sparse})
	m.Graph.AddInput("seq", graph.SequenceOf(graph.OptionalOf(graph.TensorOf(tensor.String, nil))))
	m.Graph.AddInput("map", &graph.Type{Kind: graph.KindMap, Elem: tensor.Int64, Item: graph.TensorOf(tensor.Float32, graph.Dims{})})
	if err := Encode(&other, m); err != nil {
		t.Fatal(err)
	}
	return [][]byte{b.Bytes(), other.Bytes(), oddModel()}
}

func FuzzDecode(f *testing.F) {
	for _, data := range seeds(f) {
		f.Add(data)
	}
	f.Fuzz(survive)
}

// TestItemsOfOtherKinds reads sequences whose items are not what their type
// says.
func TestItemsOfOtherKinds(t *testing.T) {
	float := graph.TensorOf(tensor.Float32, nil)
	items := []tensor.Value{&tensor.Seq{}, tensor.None{}}
	for _, item := range items {
		data, err := EncodeValue("", &tensor.Seq{Items: []tensor.Value{item}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := DecodeValue(data, graph.SequenceOf(float)); err == nil || !strings.Contains(err.Error(), "want a value of type float") {
			t.Errorf("a sequence of tensors holding %T is read as %v, %v", item, v, err)
		}
		if _, err := DecodeValue(data, &graph.Type{Kind: graph.KindSequence}); err != nil {
			t.Errorf("a sequence of anything holding %T: %v", item, err)
		}
	}
}

// FuzzDecodeValue reads bytes as each kind of value.
func FuzzDecodeValue(f *testing.F) {
	float := graph.TensorOf(tensor.Float32, nil)
	types := []*graph.Type{
		float,
		{Kind: graph.KindSparse, Elem: tensor.Float32},
		graph.SequenceOf(float),
		{Kind: graph.KindMap, Elem: tensor.Int64, Item: float},
		graph.OptionalOf(graph.SequenceOf(float)),
	}
	x := tensor.Vector[float32](1, 2)
	values := []tensor.Value{
		x,
		&tensor.Sparse{Values: x, Indices: tensor.Vector[int64](1, 2), Shape: tensor.Shape{4}},
		&tensor.Seq{Items: []tensor.Value{x}},
		&tensor.Map{Keys: tensor.Vector[int64](3), Values: []tensor.Value{x}},
		tensor.None{},
	}
	for i, v := range values {
		data, err := EncodeValue("v", v, types[i])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, uint8(i))
	}
	f.Fuzz(func(t *testing.T, data []byte, kind uint8) {
		typ := types[int(kind)%len(types)]
		v, err := DecodeValue(data, typ)
		if err != nil {
			return
		}
		again, err := EncodeValue("", v, typ)
		if err != nil {
			t.Fatal(err)
		}
		if w, err := DecodeValue(again, typ); err != nil || !sameValue(v, w) {
			t.Errorf("%v is read again as %v, %v", v, w, err)
		}
	})
}

// TestTruncatedWhileOpen cuts a file off while it is mapped.
func TestTruncatedWhileOpen(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files are not mapped")
	}
	path := saved(t, outsideModel(), SaveOptions{})
	m := opened(t, path)
	if err := os.Truncate(path, 5000); err != nil {
		t.Fatal(err)
	}
	m.Graph.Doc = "changed"
	for name, o := range map[string]SaveOptions{"inside": {}, "outside": {External: 1}} {
		out := filepath.Join(t.TempDir(), "out.onnx")
		err := Save(t.Context(), out, m, o)
		if err == nil || !strings.Contains(err.Error(), "cut off") {
			t.Errorf("%s: error is %v, want that the file was cut off", name, err)
		}
		if files := folderFiles(t, filepath.Dir(out)); len(files) != 0 {
			t.Errorf("%s: %v is left behind", name, files)
		}
	}
}

// TestLimits gives small files that stand for much.
func TestLimits(t *testing.T) {
	model := func(g *message) []byte {
		w := &message{}
		w.message(modelGraph, g)
		return bytes.Join(w.all(), nil)
	}
	field := func(w *message, n int, num protowire.Number, c *message) *message {
		for range n {
			w.message(num, c)
		}
		return w
	}
	output := &message{}
	output.text(nodeOutput, "x")
	for what, c := range map[string]struct {
		data []byte
		want string
	}{
		"nodes":      {model(field(&message{}, maxObjects+1, graphNode, &message{})), "has more than"},
		"attributes": {model(field(&message{}, 1, graphNode, field(&message{}, maxAttrs+1, nodeAttr, &message{}))), "has 1025 attributes, want at most 1024"},
		"names":      {model(field(&message{}, maxRenamed+2, graphNode, output)), "which is more than is accepted"},
	} {
		if _, err := Decode(c.data, OpenOptions{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want %q", what, err, c.want)
		}
	}
}

// TestRepeatedNames reads a graph that makes a name twice: readers between
// the makers read the first.
func TestRepeatedNames(t *testing.T) {
	node := func(op, in, out string) *message {
		w := &message{}
		w.text(nodeInput, in)
		w.text(nodeOutput, out)
		w.text(nodeOp, op)
		return w
	}
	entry := func(name string) *message {
		w := &message{}
		w.text(valueName, name)
		return w
	}
	g := &message{}
	for _, n := range []*message{node("A", "x", "t"), node("B", "t", "u"), node("C", "u", "t"), node("D", "t", "y")} {
		g.message(graphNode, n)
	}
	g.message(graphInput, entry("x"))
	g.message(graphOutput, entry("y"))
	w := &message{}
	w.message(modelGraph, g)
	data := bytes.Join(w.all(), nil)
	m, err := Decode(data, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ reader, maker string }{{"u", "A"}, {"y", "C"}} {
		if n := m.Graph.Value(c.reader).Producer().In(0).Producer(); n.Op != c.maker {
			t.Errorf("the maker of %q reads what %s makes, want %s", c.reader, n.Op, c.maker)
		}
	}
	survive(t, data)
}
