package onnxio

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"google.golang.org/protobuf/encoding/protowire"
)

func TestRoundTrip(t *testing.T) {
	want := smallModel()
	if err := graph.Check(want); err != nil {
		t.Fatal(err)
	}
	got := reencode(t, "small", want)
	if err := graph.Check(got); err != nil {
		t.Fatal(err)
	}
	sameModel(t, want, got)
	inner := got.Graph.Value("If_out").Producer().Subgraphs()[0].First().In(0)
	if inner != got.Graph.Value("MatMul_out") {
		t.Errorf("the branch reads %v, want the value of the graph around it", inner.Name())
	}
}

// longVarint is x with more bytes than it needs.
func longVarint(x uint64) []byte {
	b := protowire.AppendVarint(nil, x)
	b[len(b)-1] |= 0x80
	return append(b, 0x80, 0x00)
}

// oddModel is encoded in ways that no writer of ours uses and every reader
// has to accept.
func oddModel() []byte {
	field := func(b []byte, num protowire.Number, v []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
	}
	varint := func(b []byte, num protowire.Number, v []byte) []byte {
		return append(protowire.AppendTag(b, num, protowire.VarintType), v...)
	}
	group := protowire.AppendTag(nil, 999, protowire.StartGroupType)
	group = varint(group, 1, []byte{7})
	group = protowire.AppendTag(group, 999, protowire.EndGroupType)

	w := varint(nil, tensorDType, []byte{byte(tensor.Int32)})
	w = field(w, tensorInt32s, []byte{1, 2})                                 // packed
	w = varint(w, tensorInt32s, longVarint(3))                               // and not
	w = varint(w, tensorInt32s, protowire.AppendVarint(nil, math.MaxUint64)) // -1
	w = field(w, tensorDims, []byte{2, 2})                                   // packed where proto2 does not
	w = field(w, tensorName, []byte("w"))
	ints := varint(field(nil, attrInts, []byte{1, 2}), attrInts, longVarint(5))
	ints = field(varint(ints, attrKind, []byte{byte(graph.AttrInts)}), attrName, []byte("ints"))
	node := field(nil, nodeOutput, []byte("y"))
	node = field(node, nodeInput, []byte("x"))
	node = field(node, nodeAttr, ints)
	node = append(node, group...)
	node = field(node, nodeInput, []byte("w"))
	node = field(node, nodeOp, []byte("Foo"))
	typ := func(name string, elem byte) []byte {
		return field(field(nil, valueType, field(nil, typeTensor, varint(nil, typeElem, []byte{elem}))), valueName, []byte(name))
	}
	first := field(nil, graphOutput, typ("y", 6)) // before its maker
	first = field(first, graphNode, node)
	second := field(nil, graphInput, typ("x", 6))
	second = field(second, graphInit, w)
	second = field(second, graphName, []byte("g"))
	second = field(second, graphName, []byte("last name counts"))

	b := varint(nil, modelIRVersion, longVarint(9))
	b = field(b, modelGraph, first)
	b = append(b, group...)
	b = field(b, modelOpset, varint(nil, opsetVersion, []byte{21}))
	b = field(b, modelGraph, second) // merged with the first
	b = protowire.AppendFixed32(protowire.AppendTag(b, 500, protowire.Fixed32Type), 1)
	return protowire.AppendFixed64(protowire.AppendTag(b, modelIRVersion, protowire.Fixed64Type), 1) // wrong wire type: unknown
}

func TestOddEncodings(t *testing.T) {
	dir := t.TempDir()
	path, out := filepath.Join(dir, "odd.onnx"), filepath.Join(dir, "out.onnx")
	data := oddModel()
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	m := opened(t, path)
	g := m.Graph
	if m.IRVersion != 9 || g.Name != "last name counts" || g.NumNodes() != 1 {
		t.Fatalf("read IR %d, graph %q with %d nodes", m.IRVersion, g.Name, g.NumNodes())
	}
	if w := g.Value("w").Init.Tensor; !w.Equal(tensor.Of(tensor.Shape{2, 2}, []int32{1, 2, 3, -1})) {
		t.Errorf("w is %v with %v", w, tensor.Data[int32](w))
	}
	if got := g.First().Ints("ints"); len(got) != 3 || got[2] != 5 {
		t.Errorf("ints are %v", got)
	}
	save(t, out, m, SaveOptions{})
	if !sameFiles(t, path, out) {
		t.Error("saved with other bytes")
	}
	sameModel(t, m, reencode(t, "stripped", stripped(m)))
	changed := m.Clone()
	changed.Graph.Doc = "changed"
	var b bytes.Buffer
	if err := Encode(&b, changed); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b.Bytes(), g.First().Wire) || !bytes.Contains(b.Bytes(), g.Value("w").Init.Wire) {
		t.Error("a node or tensor that was not changed is encoded otherwise")
	}
}

// typedField encodes elements in the list that ONNX stores their type in.
func typedField(dt tensor.DType, raw []byte) []byte {
	width := max(dt.Bits(), 8) / 8
	num, packed := tensorInt32s, []byte(nil)
	switch dt {
	case tensor.Float32, tensor.Complex64:
		num, packed = tensorFloats, raw
	case tensor.Float64, tensor.Complex128:
		num, packed = tensorDoubles, raw
	case tensor.Int64:
		num = tensorInt64s
	case tensor.Uint32, tensor.Uint64:
		num = tensorUint64s
	}
	if packed == nil {
		for ; len(raw) > 0; raw = raw[width:] {
			var x uint64
			for i := range width {
				x |= uint64(raw[i]) << (8 * i)
			}
			if dt.IsSigned() && width < 8 { // negative numbers are stored as such
				x = uint64(int64(x<<(64-8*width)) >> (64 - 8*width))
			}
			packed = protowire.AppendVarint(packed, x)
		}
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), packed)
}

// TestTypedFields reads each type's elements from its list and as raw bytes.
func TestTypedFields(t *testing.T) {
	for _, dt := range tensor.DTypes() {
		if dt == tensor.String {
			continue
		}
		const n = 5
		want := tensor.New(dt, tensor.Shape{n})
		for i := range want.Bytes() {
			want.Bytes()[i] = byte(0xf1 - 37*i)
			if dt == tensor.Bool {
				want.Bytes()[i] = byte(i % 2)
			}
		}
		head := &message{}
		head.int(tensorDims, n)
		head.int(tensorDType, int64(dt))
		typed := append(bytes.Clone(head.tail), typedField(dt, want.Bytes())...)
		raw := protowire.AppendBytes(protowire.AppendTag(bytes.Clone(head.tail), tensorRaw, protowire.BytesType), want.Bytes())
		for form, data := range map[string][]byte{"typed": typed, "raw": raw} {
			got, err := DecodeValue(data, nil)
			if err != nil {
				t.Errorf("%v, %s: %v", dt, form, err)
			} else if !want.Equal(got.(*tensor.Tensor)) {
				t.Errorf("%v, %s: read % x, want % x", dt, form, got.(*tensor.Tensor).Bytes(), want.Bytes())
			}
		}
	}
}

// TestTensorErrors feeds tensors that say something impossible.
func TestTensorErrors(t *testing.T) {
	build := func(dt int64, dims []int64, raw int) []byte {
		w := &message{}
		for _, n := range dims {
			w.int(tensorDims, n)
		}
		w.int(tensorDType, dt)
		w.text(tensorName, "w")
		w.span(tensorRaw, make([]byte, raw))
		return bytes.Join(w.all(), nil)
	}
	for _, c := range []struct {
		data []byte
		want string
	}{
		{build(1, []int64{2, 3}, 20), `tensor "w": float[2,3] has 20 bytes of data, want 24`},
		{build(1, []int64{2, 3}, 0), `tensor "w": float[2,3] has 0 bytes of data, want 24`},
		{build(6, []int64{2}, 0), "int32[2] has 0 stored numbers, want 2"},
		{build(8, []int64{2}, 0), "string[2] has 0 strings, want 2"},
		{build(1, []int64{-1}, 4), "dimension 0 is negative"},
		{build(1, []int64{1 << 40, 1 << 40}, 4), "too many elements"},
		{build(15, []int64{1 << 57}, 0), "too many elements"},
		{build(15, []int64{1 << 20, 0, 1 << 20}, 4), "4 bytes of data, want 0"},
		{build(1, make([]int64, 2000), 0), "has 2000 axes, want at most 1024"},
		{build(99, nil, 4), "element type 99 is not known"},
		{build(0, nil, 4), "no element type"},
		{[]byte{0x0a}, "malformed message"},
		{[]byte{0x4a, 0xff, 0xff, 0xff, 0xff, 0x0f}, "malformed message"},
	} {
		_, err := DecodeValue(c.data, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error is %v, want %q", err, c.want)
		}
	}
}

func TestDepthLimit(t *testing.T) {
	m := smallModel()
	for range maxDepth {
		n := graph.NewNode("", "If", nil, 1, graph.GraphAttr("then_branch", m.Graph))
		m.Graph = graph.New("outer")
		m.Graph.Append(n)
	}
	var b bytes.Buffer
	if err := Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	_, err := Decode(b.Bytes(), OpenOptions{})
	if err == nil || !strings.HasSuffix(err.Error(), "messages are nested more than 100 deep") {
		t.Errorf("error is %v", err)
	}
}
