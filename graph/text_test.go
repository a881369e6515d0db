package graph

import (
	"math"
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// officialText uses what the official grammar has.
const officialText = `
<
  ir_version: 10,
  opset_import: [ "" : 18, "local" : 1 ],
  producer_name: "a \"quoted\" \\ name", producer_version: "1", domain: "d", model_version: 3,
  doc_string: "two
lines", metadata_props: ["k": "v", "k2": ""]
>
"a graph" (float[N, 128] X, float[2] W = [ "location": "weights.bin", "offset": "4096", "length": "8" ] {1, 2},
   seq(float[?]) s, optional(seq(bool)) o) => (float[N, "2*M"] C, float unused)
   <float[2] b = {1.5, -inf}, string[2] names = {"x", "y\"z"}, int64 k = {7}, float[N, 10] T>
{   # a comment
    [mm] T = MatMul(X, W)
    S = Add<axis = 1, alpha: float = 1, list = [1, 2], fs: floats = [1, -2.5e3, nan], none: ints = [], str = "s", strs = ["a", "b"]>(T, b)
    "C", "" = local.f:over<a = 2.0>(S, "")
    = Sink(C,)
    unused = If (k) <
       then_branch = then () => (float y) { y = Id(b) },
       else_branch = orelse () => (y) <float[1] c = {3}> { y = Sum(c, , S) }
    >
    t = Constant<value = float[2] name {1, 2}, tp: type_proto = map(int64, float[?]), tps: type_protos = [float[N], opaque(a.b, c), opaque(x.y)]>()
}

<domain: "local", overload: "over", opset_import: ["" : 18], doc_string: "doc">
f <a, b: float = 1.0, g = 2> (float[N] x, y) => (z, h) <float[N] i> {
   h = Foo<v: float = @a>(x, y)
   i = Id (h)
   z = If (h) <then_branch = g1 () => (q) { q = Foo(x) }>
}
`

// extendedText uses what this package adds.
const extendedText = `
<
  ir_version: 11, opset_import: ["": 21, "a-b.c": 1],
  device_configurations: [<name: "gpus", num_devices: 2, devices: ["a", "b"], unknown: "c80101">],
  training_info: [<initialization: init () => (w1) { w1 = Const() } %[doc_string: "i"],
     algorithm: step (float[N] z) => (y) { y = Mul(z, w) }, update_binding: ["w": "y"], unknown: "01">],
  unknown: "ff00"
>
g (float[N %[denotation: "BATCH"], 4] %[denotation: "IMAGE", unknown: "0a"] x %[doc_string: "in", metadata_props: ["a": "b"], unknown: "01"],
   ? untyped, undefined[3] u, nothing, float "seq") => (y, x)
  <float[2] w = {1, nan(2143289345)} %[doc_string: "w"],
   sparse_tensor(float[3, 4]) sp = {float[2] {1, 2}, int64[2] {0, 5}},
   float16[3] h = {1.5, 15360, -inf}, bfloat16 bf = {16256}, float8e4m3fn[2] e = {1.0, 3}, float8e8m0 e8 = {127},
   int4[3] i4 = {-8, 7, 0}, uint4[2] u4 = {15, 1}, float4e2m1[3] f4 = {1.5, 7, 0}, uint2[5] u2 = {0, 1, 2, 3, 1}, int2[3] i2 = {-2, 1, 0},
   complex64[1] c = {1, -0}, complex128 cc = {nan, -nan}, bool[3] bo = {true, 0, false}, uint64 u64 = {18446744073709551615},
   double d = {4.9e-324}, float[0, 3] none = {}, undefined[0] un = {}, float[2] w>
{
  y = "a-b.c"."op x":"over load" <"odd name": ints = [1], ref = @none %[doc_string: "d"],
      g: graph = "float" () => () {} %[doc_string: "gd"] %[doc_string: "ad", unknown: "00"],
      t: type_proto = float[2] %[] %[doc_string: "ad"], sp = sparse_tensor(float[3]) nm = {float[1] {1}, int64[1] {2}},
      v = float {1} %[] %[doc_string: "of the attribute"], u: undefined = []
   > (x, w) %[doc_string: "n", metadata_props: ["k": "v"], device_configurations: ["0a01"], unknown: "ff"]
} %[doc_string: "main", metadata_props: ["m": "n"], quantization_annotation: ["x": ["SCALE_TENSOR": "w"] %[unknown: "05"]], unknown: "aa"]
`

func roundTrip(t *testing.T, text string) *Model {
	t.Helper()
	m, err := ParseModel(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	again, err := ParseModel(Format(m))
	if err != nil {
		t.Fatalf("reading what was written: %v\n%s", err, Format(m))
	}
	if d := DiffModels(m, again); d != "" {
		t.Errorf("%s\n%s", d, Format(m))
	}
	if Format(m) != Format(again) {
		t.Errorf("writes\n%s\nthen\n%s", Format(m), Format(again))
	}
	return m
}

func TestTextOfficial(t *testing.T) {
	m := roundTrip(t, officialText)
	if err := Check(m); err != nil {
		t.Error(err)
	}
}

func TestTextExtended(t *testing.T) {
	m := roundTrip(t, extendedText)
	g := m.Graph
	for name, want := range map[string]*tensor.Tensor{
		"i4": tensor.FromInt64s(tensor.Int4, tensor.Shape{3}, []int64{-8, 7, 0}),
		"u2": tensor.FromInt64s(tensor.Uint2, tensor.Shape{5}, []int64{0, 1, 2, 3, 1}),
		"h":  tensor.FromFloat32s(tensor.Float16, tensor.Shape{3}, []float32{1.5, 1, float32(math.Inf(-1))}),
		"e":  tensor.FromCodes(tensor.Float8E4M3FN, tensor.Shape{2}, []uint8{0x38, 3}),
		"bo": tensor.Of(tensor.Shape{3}, []bool{true, false, false}),
		"c":  tensor.Of(tensor.Shape{1}, []complex64{complex(1, float32(math.Copysign(0, -1)))}),
	} {
		if got := g.Value(name).Init.Tensor; !got.Equal(want) {
			t.Errorf("%s is %v %x, want %v %x", name, got, got.Bytes(), want, want.Bytes())
		}
	}
	if v := g.Value("w"); v.Inferred || math.Float32bits(tensor.Data[float32](v.Init.Tensor)[1]) != 2143289345 {
		t.Errorf("w: type inferred %v, contents %v", v.Inferred, v.Init.Tensor.Bytes())
	}
	if a := g.First().Attr("g"); a.Doc != "ad" || a.Graphs[0].Doc != "gd" || a.Graphs[0].Name != "float" {
		t.Errorf("attribute g: %+v", a)
	}
}

func TestTextScopes(t *testing.T) {
	m := roundTrip(t, `<ir_version: 8, opset_import: ["": 17]>
g (bool c, float x) => (float y) {
   z = Id (y) # a reader before the maker
   y = If (c) <then_branch = t () => (x) {}, else_branch = e () => (r) { r = If (c) <then_branch = d () => (q) { q = Id (w) }> }>
   w = Id (x)
}`)
	g := m.Graph
	if err := Check(m); err == nil || !strings.Contains(err.Error(), "is read before") {
		t.Errorf("check says %v of a reader before its maker", err)
	}
	if err := g.Sort(); err != nil {
		t.Fatal(err)
	}
	if err := Check(m); err != nil {
		t.Error(err)
	}
	if x := g.Value("x"); !x.IsOutput() || x.NumUses() != 1 {
		t.Errorf("x is read %d times, an output of a branch: %v", x.NumUses(), x.IsOutput())
	}
}

func TestTextFunction(t *testing.T) {
	f, err := ParseFunction(`<domain: "", opset_import: ["": 18]> Celu <alpha: float = 1.0> (X) => (Y) {
   a = Constant <value_float: float = @alpha> ()
   b = Div (X, a)
   c = Elu <alpha = 1.0> (b)
   Y = Mul (a, c)
}`)
	if err != nil {
		t.Fatal(err)
	}
	if f.Name != "Celu" || f.Opset("") != 18 || f.Body.NumNodes() != 4 || f.Body.Function() != f {
		t.Errorf("read as\n%s", FormatFunction(f))
	}
	again, err := ParseFunction(FormatFunction(f))
	if err != nil || DiffFunctions(f, again) != "" {
		t.Errorf("%v %s", err, DiffFunctions(f, again))
	}
}

func TestTextErrors(t *testing.T) {
	const head = "<ir_version: 8>\n"
	for _, c := range []struct{ text, want string }{
		{"", `1:1: expected the name of a graph, found the end of the text`},
		{"<ir_version: x>", `1:14: expected an integer, found "x"`},
		{"<colour: 1>", `1:2: key "colour" is not known here`},
		{head + "g () = () {}", `2:6: expected "=>", found "="`},
		{head + "g () => (y) {}", `2:10: nothing makes value "y"`},
		{head + "g () => () { y = Id(x) }", `2:21: nothing makes value "x"`},
		{head + "g (x) => () { x = Id(x) }", `2:15: value "x" is made twice`},
		{head + "g (x, x) => () {}", `2:7: input "x" is given twice, or has no name`},
		{head + "g () => () <float[2] w = {1}> {}", `2:26: expected the 2 elements of float[2], found 1`},
		{head + "g () => () <float[1] w = {1, 2}> {}", `2:30: expected the 1 elements of float[1], found more`},
		{head + "g () => () <float[N] w = {1}> {}", `2:22: expected a type with known dimensions, found float[N]`},
		{head + "g () => () <int8 w = {128}> {}", `2:23: expected an element that fits type int8, found "128"`},
		{head + "g () => () <float w> {}", `2:19: value "w" is described, but its graph does not make it`},
		{head + "g () => () { = A<a = 1, a = 2>() }", `2:25: attribute "a" is given twice`},
		{head + "g () => () { = A<a = []>() }", `2:22: expected the type of an empty list in front, such as ": ints"`},
		{head + "g () => () { = A<a: int = 1.5>() }", `2:27: expected a value of type int, found one of type float`},
		{head + "g () => () { = A<a: ints = [1.5]>() }", `2:29: expected a value of type int, found one of type float`},
		{head + "g () => () { = A<a: colour = 1>() }", `2:21: expected the type of an attribute such as "ints" or "tensor", found "colour"`},
		{head + "g () => () { = A(\"x) }", `2:18: string has no end`},
		{head + "g () => () { = A() ", `2:20: expected "=", found the end of the text`},
		{head + "g () => () <float[2] w = {... 8 bytes}> {}", `2:27: expected elements; they were left out when the text was written`},
		{"g (" + strings.Repeat("seq(", 200), `1:400: nesting is deeper than 100`},
		{"g () => () {} - ", `1:15: expected a number, "inf" or "nan" after "-"`},
	} {
		_, err := ParseModel(c.text)
		if err == nil || err.Error() != c.want {
			t.Errorf("%q:\n got %v\nwant %s", c.text, err, c.want)
		}
	}
}

func TestTextElided(t *testing.T) {
	m := newModel()
	m.Graph.AddInit("w", tensor.New(tensor.Float32, tensor.Shape{5}))
	m.Graph.AddInit("b", tensor.Scalar(int32(1)))
	var s strings.Builder
	if err := (TextOptions{Elide: 4, Inferred: true}).Write(&s, m); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"float[5] w = {... 20 bytes, sha256 ", "int32 b = {1}"} {
		if !strings.Contains(s.String(), want) {
			t.Errorf("%q is missing in\n%s", want, s.String())
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(officialText)
	f.Add(extendedText)
	f.Add("g () => () {}")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ParseModel(text)
		if err != nil {
			return
		}
		again, err := ParseModel(Format(m))
		if err != nil {
			t.Fatalf("%v\n%s", err, Format(m))
		}
		if d := DiffModels(m, again); d != "" {
			t.Fatalf("%s\n%s", d, Format(m))
		}
		_ = Check(m)
	})
}
